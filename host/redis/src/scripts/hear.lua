-- Commands after this one that have not expired. Takes its number and their lifetime; answers pairs of a number and a
-- command.

local now, answer = time(), {}
for _, entry in ipairs(call('XRANGE', P .. 'commands', '(' .. ARGV[1], '+')) do
  if now - entry[2][2] < tonumber(ARGV[2]) then
    answer[#answer + 1] = entry[1]
    answer[#answer + 1] = entry[2][4]
  end
end
return answer
