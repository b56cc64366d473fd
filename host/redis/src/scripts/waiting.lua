-- The ids of at most so many envelopes that wait in a queue. Takes the queue and the number.

local queue, wanted = ARGV[1], tonumber(ARGV[2])
local now = time()
local answer = call('ZRANGE', P .. 'due:' .. queue, 0, wanted - 1)

local function add(entries)
  for _, entry in ipairs(entries) do
    if #answer < wanted then answer[#answer + 1] = entry[2][2] end
  end
end

local lost = call('ZRANGEBYSCORE', P .. 'leased:' .. queue, '-inf', now, 'LIMIT', 0, wanted)
for _, lease in ipairs(lost) do
  if #answer < wanted then answer[#answer + 1] = lease:sub(1, 16) end
end

local lanes = call('HKEYS', P .. 'lanes:' .. queue)
for _, priority in ipairs(lanes) do
  local lane = P .. 'lane:' .. priority .. ':' .. queue
  for _, pending in ipairs(call('XPENDING', lane, GROUP, '-', '+', wanted, RETURNED)) do
    add(call('XRANGE', lane, pending[1], pending[1]))
  end
  local group, last = call('XINFO', 'GROUPS', lane)[1], '0-0'
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then last = group[i + 1] end
  end
  add(call('XRANGE', lane, '(' .. last, '+', 'COUNT', wanted))
end
return answer
