-- The sums of a few hours since a time. Answers the time at which to go on ('' at the end), then of each hour its keys and
-- sums.

-- An hour has at most about a thousand keys, of which each takes some 250 bytes with its sums.
local HOURS = 8
local hours = call('ZRANGEBYSCORE', P .. 'hours', ARGV[1], '+inf', 'LIMIT', 0, HOURS)
local answer = {#hours == HOURS and string.format('%.0f', hours[HOURS] + 1) or ''}
for _, hour in ipairs(hours) do answer[#answer + 1] = call('HGETALL', P .. 'usage:' .. hour) end
return answer
