-- The ids of at most so many envelopes that wait in a queue. Takes the queue and the number.

local queue, wanted = ARGV[1], tonumber(ARGV[2])
rescue(queue, time())
local answer = call('ZRANGE', P .. 'due:' .. queue, 0, wanted - 1)

local function add(id)
  if #answer < wanted then answer[#answer + 1] = id end
end

for _, lane in ipairs(lanes_of(queue)) do
  for _, seat in ipairs(call('ZRANGE', lane.back, 0, wanted - 1)) do
    local _, _, id = read_seat(seat)
    add(id)
  end
  for _, entry in ipairs(call('XRANGE', lane.key, '-', '+', 'COUNT', wanted)) do
    for _, id in ipairs(left_of(lane, entry)) do add(id) end
  end
end
return answer
