-- Commands after this number that have not expired. Takes the number and their lifetime; answers pairs of a number and
-- a command.

local now, answer = time(), {}
for _, entry in ipairs(call('XRANGE', P .. 'commands', '(' .. ARGV[1] .. '-0', '+')) do
  if now - entry[2][2] < tonumber(ARGV[2]) then
    answer[#answer + 1] = tonumber(entry[1]:match('^%d+'))
    answer[#answer + 1] = entry[2][4]
  end
end
return answer
