-- Leases at most so many envelopes to a worker: what is due and what was lost goes back into its lane first, then the
-- heads of the lanes are taken. Takes the line on which it is asked, the claim's number there and that of the last one
-- whose answer arrived; the worker, the limit, the lease, and queues, the first one first.
-- Answers the time, whether there is more to be had at once, then each delivery's id and envelope.

local line, number, arrived = P .. 'c:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local worker, limit, length = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local FIRST_QUEUE = 7
local now = time()
local ends = now + length
local AGEING = 60000
-- How long a claim may be under way and still be known as one that its line has given up.
local LINGER = 600000

-- Puts back what the line's last claim leased, where its answer never arrived: no worker was lost. Answers whether this
-- claim still is one: a line has given up whatever comes later than a newer one.
local function continue_line()
  local head = call('GETRANGE', line, '0', '7')
  if head == '' then return true end
  local last = unpack_bytes('>I8', head)
  if last >= number then return false end
  if last <= arrived then return true end
  local kept, unheard = call('GET', line), {}
  local till = unpack_bytes('>I8', kept, 9)
  for i = 17, #kept, 16 do
    local id = kept:sub(i, i + 15)
    local stored = call('HGET', P .. 'leased', id)
    local lease = stored and unpack_lease(stored)
    -- Where it ends at another time it is another lease.
    if lease and lease.ends == till then
      put_back(id, 0)
      unheard[lease.queue] = unheard[lease.queue] or {}
      table.insert(unheard[lease.queue], id)
    end
  end
  for queue, ids in pairs(unheard) do remove_leases(queue, ids) end
  ring(unheard)
  return true
end

if not continue_line() then return {now, 0} end

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

-- What is to be run next in a queue, the first one first: positions, ids, and whose they are.
local function next_entries(queue, wanted)
  local lanes = lanes_of(queue)
  if #lanes == 1 then
    peek(lanes[1], wanted)
    return lanes[1].positions, lanes[1].ids, lanes
  end
  local order = choose(lanes, wanted)
  local positions, ids = {}, {}
  for i, chosen in ipairs(order) do
    positions[i], ids[i] = chosen.lane.positions[chosen.place], chosen.lane.ids[chosen.place]
  end
  return positions, ids, lanes, order
end

-- Takes the first so many of these out of their lanes.
local function take_all(lanes, order, number)
  if not order then
    take(lanes[1], number)
    return
  end
  local taken = {}
  for i = 1, number do taken[order[i].lane] = order[i].place end
  for lane, last in pairs(taken) do take(lane, last) end
end

-- What is written for a delivery: the same for all that are claimed together and have been delivered as often.
local function lease_for(envelope, queue, known)
  local flags = envelope:byte(2)
  local is_plain = flags == 0 and envelope:byte(64) == 0
  local delivery = unpack_bytes('>I4', envelope, 13) + 1
  local key = is_plain and delivery or -delivery
  known[key] = known[key] or pack_lease(delivery, ends, is_plain and PLAIN or 0, worker, queue)
  return known[key]
end

-- Whether an envelope still is what its entry stood for. A server keeps or loses each of our steps whole, so that only a
-- key which somebody has put back or removed by hand says otherwise: then nothing runs that is somewhere else too.
local function is_ready(envelope, position)
  -- No text is made for the comparison.
  return envelope and envelope:byte(1) == IN_LANE and envelope:byte(29) == #position
    and envelope:find(position, 30, true) == 30
end

-- How much an answer holds, about: nobody else is served while the server puts it together. How large envelopes are is
-- known when they have been read, a few at a time.
local ROOM, FEW = 4194304, 16
local answer, given, size, largest = {now, 0}, 0, 0, 0
-- What the line keeps of it.
local heard = {pack_bytes('>I8I8', number, ends)}

local function is_full()
  return size >= ROOM
end

-- How many are read next: as many as have room, if they are like the largest.
local function portion()
  if largest == 0 then return 4 end
  return math.min(FEW, math.ceil((ROOM - size) / largest))
end

-- Leases what is ready of these, as far as there is room. Answers how many it has looked at.
local function hand_out(queue, positions, ids)
  local keys, leases, leased, known, seen, count = {}, {}, {}, {}, 0, 0
  for i, id in ipairs(ids) do keys[i] = P .. 'e:' .. id end
  while seen < #ids and not is_full() do
    for _, envelope in ipairs(call('MGET', unpack(keys, seen + 1, math.min(seen + portion(), #keys)))) do
      seen = seen + 1
      if is_ready(envelope, positions[seen]) then
        local id, at, bytes = ids[seen], 2 * (given + count) + 3, #envelope
        count = count + 1
        leased[count] = id
        leases[2 * count - 1], leases[2 * count] = id, lease_for(envelope, queue, known)
        answer[at], answer[at + 1] = id, envelope
        size, largest = size + bytes, bytes > largest and bytes or largest
      end
    end
  end
  given = given + count
  put_leases(queue, leases)
  local entries = index_leases(queue, ends, leased)
  for i = 2, #entries, 2 do heard[#heard + 1] = entries[i] end
  return seen
end

local function claim_from(queue)
  rescue(queue, now)
  promote(queue, now)
  if is_more then return end
  local positions, ids, lanes, order = next_entries(queue, limit - given)
  if #ids > 0 then take_all(lanes, order, hand_out(queue, positions, ids)) end
end

for i = FIRST_QUEUE, #ARGV do
  if given >= limit or is_more or is_full() then break end
  if call('SISMEMBER', P .. 'paused', ARGV[i]) == 0 then claim_from(ARGV[i]) end
end

-- Where every answer has arrived, and this one gives nothing, the line stays as it is.
if given > 0 or number ~= arrived + 1 then
  call('SET', line, table.concat(heard), 'PXAT', after(now, length + LINGER))
end
if given < limit and (is_more or is_full()) then answer[2] = 1 end
return answer
