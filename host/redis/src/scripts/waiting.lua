-- The ids of at most so many envelopes that wait in a queue; nothing where more was lost than one run can bring back.
-- Takes the queue and the number.

local queue, wanted = ARGV[1], tonumber(ARGV[2])
rescue(queue, time())
if is_more then return false end
local answer = call('ZRANGE', P .. 'due:' .. queue, 0, wanted - 1)

local function add(id)
  if #answer < wanted then answer[#answer + 1] = id end
end

local function add_waiting(lane)
  for _, seat in ipairs(call('ZRANGE', lane.back, 0, wanted - #answer - 1)) do
    local _, _, id = read_seat(seat)
    add(id)
  end
  local after = '-'
  while after and #answer < wanted do
    local packs = math.ceil((wanted - #answer) / PACK)
    local entries = call('XRANGE', lane.key, after, '+', 'COUNT', packs)
    for _, entry in ipairs(entries) do
      for _, id in ipairs(left_of(lane, entry)) do add(id) end
    end
    after = #entries == packs and '(' .. entries[packs][1]
  end
end

for _, lane in ipairs(lanes_of(queue)) do
  if #answer < wanted then add_waiting(lane) end
end
return answer
