-- Leases at most so many envelopes to a worker: what is due and what was lost goes back into its lane first, then the
-- heads of the lanes are taken. Takes the worker, the limit, the lease, and queues, the first one first.
-- Answers the time, then each delivery's id and envelope.

local worker, limit, length = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = time()
local AGEING = 60000

-- Puts back what its worker has lost.
local function rescue(queue)
  local alive = {ids = {}, ends = math.huge, batches = {}}
  local lost = lapsed(queue, now, CHUNK, alive)
  for _, id in ipairs(lost) do
    local e = read(id)
    if e then
      e.deliveries, e.losses = e.deliveries + 1, e.losses + 1
      write(e)
      give_back(e)
    end
  end
  remove_leases(queue, lost)
  spread(alive.batches, 'ZREM', P .. 'ends:' .. queue)
  index_leases(queue, alive.ends, alive.ids)
end

-- The next entries of a lane, pairs of a position and an id, the first one first: what came back lies before what
-- nobody has had yet.
local function peek(lane, wanted)
  local positions, ids = {}, {}
  lane.came_back = 0
  if lane.returned > 0 then
    local seats = call('ZRANGE', back_key(lane.queue, lane.priority), 0, wanted - 1, 'WITHSCORES')
    for i = 1, #seats, 2 do
      positions[#positions + 1] = seats[i + 1] .. '-' .. string.format('%.0f', unpack_bytes('>I8', seats[i]))
      ids[#ids + 1] = seats[i]:sub(9)
    end
    lane.came_back = #ids
  end
  if #ids < wanted then
    for _, entry in ipairs(call('XRANGE', lane.key, '-', '+', 'COUNT', wanted - #ids)) do
      positions[#positions + 1], ids[#ids + 1] = entry[1], entry[2][2]
    end
  end
  lane.positions, lane.ids = positions, ids
end

-- Takes the first so many of the entries that were seen out of their lane.
local function take(lane, number)
  local came_back = math.min(number, lane.came_back)
  if came_back > 0 then
    call('ZREMRANGEBYRANK', back_key(lane.queue, lane.priority), 0, came_back - 1)
    call('HINCRBY', P .. 'lanes:' .. lane.queue, lane.priority, -came_back)
  end
  if number > came_back then
    local since, last = lane.positions[number]:match('^(%d+)-(%d+)$')
    call('XTRIM', lane.key, 'MINID', since .. '-' .. string.format('%.0f', last + 1))
  end
  close_lane(lane.queue, lane.priority)
end

-- An entry's priority, a level higher for each minute that it has waited; of equals the older one goes first.
local function rank(lane)
  local position = lane.positions[lane.next]
  if not position then return nil end
  local since, number = parts_of(position)
  return {lane.priority + math.floor(math.max(0, now - since) / AGEING), since, number}
end

local function goes_before(one, other)
  if one[1] ~= other[1] then return one[1] > other[1] end
  if one[2] ~= other[2] then return one[2] < other[2] end
  return one[3] < other[3]
end

-- Chooses among the heads of several lanes: pairs of a lane and a place in it, in the order in which they give.
local function choose(lanes, wanted)
  local order = {}
  for _, lane in ipairs(lanes) do
    peek(lane, wanted)
    lane.next = 1
    lane.rank = rank(lane)
  end
  while #order < wanted do
    local best
    for _, lane in ipairs(lanes) do
      if lane.rank and (not best or goes_before(lane.rank, best.rank)) then best = lane end
    end
    if not best then break end
    order[#order + 1] = {lane = best, place = best.next}
    best.next = best.next + 1
    best.rank = rank(best)
  end
  return order
end

local function lanes_of(queue)
  local lanes, found = {}, call('HGETALL', P .. 'lanes:' .. queue)
  for i = 1, #found, 2 do
    lanes[#lanes + 1] = {
      key = lane_key(queue, found[i]), queue = queue, priority = tonumber(found[i]), returned = tonumber(found[i + 1]),
    }
  end
  return lanes
end

-- The positions and ids of what is to be run next in a queue, the first one first; out of their lanes.
local function next_entries(queue, wanted)
  local lanes = lanes_of(queue)
  if #lanes == 1 then
    local lane = lanes[1]
    peek(lane, wanted)
    take(lane, #lane.ids)
    return lane.positions, lane.ids
  end
  local positions, ids = {}, {}
  for i, chosen in ipairs(choose(lanes, wanted)) do
    positions[i], ids[i] = chosen.lane.positions[chosen.place], chosen.lane.ids[chosen.place]
  end
  for _, lane in ipairs(lanes) do
    if lane.next > 1 then take(lane, lane.next - 1) end
  end
  return positions, ids
end

local answer, given = {now}, 0
local ends = now + length
-- What is written for a delivery: the same for all that are claimed together and have been delivered as often.
local function lease_for(envelope, queue, known)
  local flags = envelope:byte(2)
  local is_plain = flags == 0 and envelope:byte(64) == 0
  local delivery = unpack_bytes('>I4', envelope, 13) + 1
  local number = is_plain and delivery or -delivery
  known[number] = known[number] or pack_lease(delivery, ends, is_plain and PLAIN or 0, worker, queue)
  return known[number]
end

-- Whether an envelope still is what its entry stood for: a server that has lost its last second may know the entry
-- again, but not that its envelope has moved on.
local function is_ready(envelope, position)
  -- No text is made for the comparison.
  return envelope and envelope:byte(1) == IN_LANE and envelope:byte(29) == #position
    and envelope:find(position, 30, true) == 30
end

local function hand_out(queue, positions, ids)
  local keys, leases, leased, known = {}, {}, {}, {}
  for i, id in ipairs(ids) do keys[i] = P .. 'e:' .. id end
  for i = 1, #keys, CHUNK do
    local envelopes = call('MGET', unpack(keys, i, math.min(i + CHUNK - 1, #keys)))
    for j, envelope in ipairs(envelopes) do
      local id = ids[i + j - 1]
      if is_ready(envelope, positions[i + j - 1]) then
        leased[#leased + 1] = id
        leases[2 * #leased - 1] = id
        leases[2 * #leased] = lease_for(envelope, queue, known)
        answer[2 * given + 2], answer[2 * given + 3] = id, envelope
        given = given + 1
      end
    end
  end
  put_leases(queue, leases)
  index_leases(queue, ends, leased)
end

for i = 4, #ARGV do
  local queue = ARGV[i]
  local wanted = limit - given
  if wanted > 0 and call('SISMEMBER', P .. 'paused', queue) == 0 then
    rescue(queue)
    promote(queue, now)
    local positions, ids = next_entries(queue, wanted)
    if #ids > 0 then hand_out(queue, positions, ids) end
  end
end
return answer
