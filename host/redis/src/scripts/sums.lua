-- The sums of all hours since a time: of each hour its keys and sums.

local answer = {}
for _, hour in ipairs(call('ZRANGEBYSCORE', P .. 'hours', ARGV[1], '+inf')) do
  answer[#answer + 1] = call('HGETALL', P .. 'usage:' .. hour)
end
return answer
