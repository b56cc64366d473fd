-- Leases at most so many envelopes to a worker: what is due and what was lost goes back into its lane first, then the
-- heads of the lanes are taken. Takes the worker, the limit, the lease, and queues, the first one first.
-- Answers the time, then each delivery's id and envelope.

local worker, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = time()
local AGEING = 60000

-- A dead worker's consumer goes when nothing is pending for it any more: everything of it was taken over before.
local function bury_consumer(lane, consumer)
  if #call('XPENDING', lane, GROUP, '-', '+', 1, consumer) == 0 then
    call('XGROUP', 'DELCONSUMER', lane, GROUP, consumer)
  end
end

-- Puts back what its worker has lost.
local function rescue(queue)
  local key = P .. 'leased:' .. queue
  local lost = call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, CHUNK)
  local bereft = {}
  for _, member in ipairs(lost) do
    local e = read(member:sub(1, 16))
    if e then
      local lane, consumer = lane_of(e), holder(e)
      if consumer then bereft[lane .. '\0' .. consumer] = {lane, consumer} end
      e.deliveries, e.losses = e.deliveries + 1, e.losses + 1
      write(e)
      give_back(e)
    end
  end
  spread(lost, 'ZREM', key)
  for _, pair in pairs(bereft) do bury_consumer(pair[1], pair[2]) end
end

-- The next entries of a lane, the first one first: what came back lies before what nobody has had yet.
local function take(lane, wanted)
  local entries = {}
  if lane.returned > 0 then
    local positions = {}
    for _, pending in ipairs(call('XPENDING', lane.key, GROUP, '-', '+', wanted, RETURNED)) do
      positions[#positions + 1] = pending[1]
    end
    if #positions > 0 then
      for i = 1, #positions, CHUNK do
        local last = math.min(i + CHUNK - 1, #positions)
        local claimed = call('XCLAIM', lane.key, GROUP, worker, 0, unpack(positions, i, last))
        for _, entry in ipairs(claimed) do entries[#entries + 1] = entry end
      end
    end
    call('HINCRBY', P .. 'lanes:' .. lane.queue, lane.priority, -#positions)
  end
  if #entries < wanted then
    local new = call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', wanted - #entries, 'STREAMS', lane.key, '>')
    for _, entry in ipairs(new and new[1][2] or {}) do entries[#entries + 1] = entry end
  end
  for _, entry in ipairs(entries) do entry.priority = lane.priority end
  return entries
end

-- Where the next entries of a lane stand, without taking them.
local function peek(lane, wanted)
  local positions, last = {}, '0-0'
  if lane.returned > 0 then
    for _, pending in ipairs(call('XPENDING', lane.key, GROUP, '-', '+', wanted, RETURNED)) do
      positions[#positions + 1] = pending[1]
    end
  end
  local group = call('XINFO', 'GROUPS', lane.key)[1]
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then last = group[i + 1] end
  end
  for _, entry in ipairs(call('XRANGE', lane.key, '(' .. last, '+', 'COUNT', wanted)) do
    positions[#positions + 1] = entry[1]
  end
  return positions
end

-- An entry's priority, a level higher for each minute that it has waited; of equals the older one goes first.
local function rank(lane)
  local position = lane.positions[lane.next]
  if not position then return nil end
  local since, number = position:match('^(%d+)-(%d+)$')
  local waited = math.max(0, now - since)
  return {lane.priority + math.floor(waited / AGEING), tonumber(since), tonumber(number)}
end

local function goes_before(one, other)
  if one[1] ~= other[1] then return one[1] > other[1] end
  if one[2] ~= other[2] then return one[2] < other[2] end
  return one[3] < other[3]
end

-- Chooses among the heads of several lanes: the lanes in the order in which they give.
local function choose(lanes, wanted)
  local order = {}
  for _, lane in ipairs(lanes) do
    lane.positions, lane.next = peek(lane, wanted), 1
    lane.rank = rank(lane)
  end
  while #order < wanted do
    local best
    for _, lane in ipairs(lanes) do
      if lane.rank and (not best or goes_before(lane.rank, best.rank)) then best = lane end
    end
    if not best then break end
    order[#order + 1] = best
    best.next = best.next + 1
    best.rank = rank(best)
  end
  return order
end

local function lanes_of(queue)
  local lanes, found = {}, call('HGETALL', P .. 'lanes:' .. queue)
  for i = 1, #found, 2 do
    local key = P .. 'lane:' .. found[i] .. ':' .. queue
    lanes[#lanes + 1] = {
      key = key, queue = queue, priority = tonumber(found[i]), returned = tonumber(found[i + 1]), given = 0,
    }
  end
  return lanes
end

-- The entries of a queue that are to be run next, the first one first.
local function next_entries(queue, wanted)
  local lanes = lanes_of(queue)
  if #lanes == 0 then return {} end
  if #lanes == 1 then return take(lanes[1], wanted) end
  local order, entries = choose(lanes, wanted), {}
  for _, lane in ipairs(lanes) do
    if lane.next > 1 then lane.entries = take(lane, lane.next - 1) end
  end
  for _, lane in ipairs(order) do
    lane.given = lane.given + 1
    entries[#entries + 1] = lane.entries[lane.given]
  end
  return entries
end

local answer, given = {now}, 0

local function hand_out(queue, entries)
  local keys, leases, count = {}, {}, 0
  -- As text, which is made once: the server would write a number out for each lease.
  local ends = string.format('%.0f', now + lease)
  for i, entry in ipairs(entries) do keys[i] = P .. 'e:' .. entry[2][2] end
  for i = 1, #keys, CHUNK do
    local envelopes = call('MGET', unpack(keys, i, math.min(i + CHUNK - 1, #keys)))
    for j, envelope in ipairs(envelopes) do
      local id = entries[i + j - 1][2][2]
      if envelope then
        leases[count + 1], leases[count + 2] = ends, lease_of(id, unpack_bytes('>I4', envelope, 13) + 1)
        count = count + 2
        answer[2 * given + 2], answer[2 * given + 3] = id, envelope
        given = given + 1
      else
        -- Somebody has deleted its key: nothing is left to be run.
        local entry = entries[i + j - 1]
        leave_later({queue = queue, priority = entry.priority, position = entry[1]})
      end
    end
  end
  spread(leases, 'ZADD', P .. 'leased:' .. queue)
end

for i = 4, #ARGV do
  local queue = ARGV[i]
  local wanted = limit - given
  if wanted > 0 and call('SISMEMBER', P .. 'paused', queue) == 0 then
    rescue(queue)
    promote(queue, now)
    local entries = next_entries(queue, wanted)
    if #entries > 0 then hand_out(queue, entries) end
  end
end
leave_lanes()
return answer
