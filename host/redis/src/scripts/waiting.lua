-- The ids of at most so many envelopes that wait in a queue. Takes the queue and the number.

local queue, wanted = ARGV[1], tonumber(ARGV[2])
rescue(queue, time())
local answer = call('ZRANGE', P .. 'due:' .. queue, 0, wanted - 1)

local function add(id)
  if #answer < wanted then answer[#answer + 1] = id end
end

for _, priority in ipairs(call('HKEYS', P .. 'lanes:' .. queue)) do
  for _, seat in ipairs(call('ZRANGE', back_key(queue, priority), 0, wanted - 1)) do add(seat:sub(9)) end
  for _, entry in ipairs(call('XRANGE', lane_key(queue, priority), '-', '+', 'COUNT', wanted)) do add(entry[2][2]) end
end
return answer
