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
  for _, id in ipairs(ids_in(kept, 17)) do
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

-- The next ones in a lane's stream: the entry of each, the number of its letter, and its id. Packs are read whole.
local function read_packs(lane, wanted)
  local seen = {entries = {}, letters = {}, ids = {}}
  local n, after, packs = 0, '-', math.ceil(wanted / PACK)
  while n < wanted do
    local found = call('XRANGE', lane.key, after, '+', 'COUNT', packs)
    for _, entry in ipairs(found) do
      local ids, first = left_of(lane, entry)
      for i, id in ipairs(ids) do
        n = n + 1
        seen.entries[n], seen.letters[n], seen.ids[n] = entry[1], BEFORE_A + first + i - 1, id
      end
    end
    if #found < packs then break end
    -- Each has one at least.
    after, packs = '(' .. found[packs][1], wanted - n
  end
  return seen
end

-- The same of what came back.
local function read_back(lane, wanted)
  local seen = {entries = {}, letters = {}, ids = {}}
  local seats = call('ZRANGE', lane.back, 0, wanted - 1, 'WITHSCORES')
  for i = 1, #seats, 2 do
    local number, letter, id = read_seat(seats[i])
    local n = (i + 1) / 2
    seen.entries[n] = seats[i + 1] .. '-' .. string.format('%.0f', number)
    seen.letters[n], seen.ids[n] = letter, id
  end
  return seen
end

local function parts_of_entry(entry)
  local since, number = entry:match('^(%d+)-(%d+)$')
  return tonumber(since), tonumber(number)
end

local function is_before(one, i, other, j)
  local since, number = parts_of_entry(one.entries[i])
  local other_since, other_number = parts_of_entry(other.entries[j])
  if since ~= other_since then return since < other_since end
  if number ~= other_number then return number < other_number end
  return one.letters[i] < other.letters[j]
end

-- Both in one order, with a mark on what came back.
local function merge(back, packs)
  local seen = {entries = {}, letters = {}, ids = {}, came_back = {}}
  local i, j = 1, 1
  for n = 1, #back.ids + #packs.ids do
    local is_back = not packs.ids[j] or (back.ids[i] and is_before(back, i, packs, j))
    local from, k = is_back and back or packs, is_back and i or j
    seen.entries[n], seen.letters[n], seen.ids[n] = from.entries[k], from.letters[k], from.ids[k]
    seen.came_back[n] = is_back
    if is_back then i = i + 1 else j = j + 1 end
  end
  return seen
end

local function peek(lane, wanted)
  local packs = read_packs(lane, wanted)
  lane.seen = lane.returned > 0 and merge(read_back(lane, wanted), packs) or packs
  if #lane.seen.ids == 0 then mend_lane(lane) end
end

-- Takes all up to this one out of the stream; what is left of its pack is taken later.
local function trim(lane, last)
  local entries, next = lane.seen.entries, last + 1
  while lane.seen.came_back and lane.seen.came_back[next] do next = next + 1 end
  local first_kept = entries[last]
  if entries[next] == first_kept then
    lane.next = first_kept .. string.char(lane.seen.letters[next])
  else
    local since, number = first_kept:match('^(%d+)-(%d+)$')
    first_kept, lane.next = since .. '-' .. string.format('%.0f', number + 1), ''
  end
  call('XTRIM', lane.key, 'MINID', first_kept)
end

-- Takes the first so many of those that were seen out of their lane.
local function take(lane, number)
  local came_back, last = 0, number
  if lane.seen.came_back then
    last = nil
    for i = 1, number do
      if lane.seen.came_back[i] then came_back = came_back + 1 else last = i end
    end
  end
  if came_back > 0 then call('ZREMRANGEBYRANK', lane.back, 0, came_back - 1) end
  if last then trim(lane, last) end
  lane.returned, lane.waiting = lane.returned - came_back, lane.waiting - number
  save_lane(lane)
end

-- An envelope's priority, a level higher for each minute that it has waited; of equals the older one goes first.
local function rank(lane)
  local entry = lane.seen.entries[lane.turn]
  if not entry then return nil end
  local since, number = parts_of_entry(entry)
  return {lane.priority + math.floor(math.max(0, now - since) / AGEING), since, number}
end

local function goes_before(one, other)
  if one[1] ~= other[1] then return one[1] > other[1] end
  if one[2] ~= other[2] then return one[2] < other[2] end
  return one[3] < other[3]
end

-- Chooses among the heads of several lanes: for each its lane, and the how manieth that was seen there, in the order in which
-- they give.
local function choose(lanes, wanted)
  local order = {}
  for _, lane in ipairs(lanes) do
    peek(lane, wanted)
    lane.turn = 1
    lane.rank = rank(lane)
  end
  while #order < wanted do
    local best
    for _, lane in ipairs(lanes) do
      if lane.rank and (not best or goes_before(lane.rank, best.rank)) then best = lane end
    end
    if not best then break end
    order[#order + 1] = {lane = best, place = best.turn}
    best.turn = best.turn + 1
    best.rank = rank(best)
  end
  return order
end

-- What is to be run next in a queue, the first one first: as it was seen, how many of it, and whose it is.
local function next_ones(queue, wanted)
  local lanes = lanes_of(queue)
  if #lanes == 1 then
    peek(lanes[1], wanted)
    return lanes[1].seen, math.min(wanted, #lanes[1].seen.ids), lanes
  end
  local order = choose(lanes, wanted)
  local seen = {entries = {}, letters = {}, ids = {}}
  for n, chosen in ipairs(order) do
    local there, i = chosen.lane.seen, chosen.place
    seen.entries[n], seen.letters[n], seen.ids[n] = there.entries[i], there.letters[i], there.ids[i]
  end
  return seen, #order, lanes, order
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

-- Whether an envelope still waits in its seat. A server keeps or loses each of our steps whole, so that only a key which
-- somebody has put back or removed by hand says otherwise: then nothing runs that is due later, dead or gone.
local function is_ready(envelope, entry, letter)
  -- No text is made for the comparison.
  return envelope and envelope:byte(1) == IN_LANE and envelope:byte(29) == #entry + 1
    and envelope:find(entry, 30, true) == 30 and envelope:byte(30 + #entry) == letter
end

-- How much an answer holds, about: nobody else is served while the server puts it together. How large envelopes are is
-- known when they have been read, a few at a time.
local FEW = 16
local answer, given, size, largest = {now, 0}, 0, 0, 0
-- What the line keeps of it.
local heard = {pack_bytes('>I8I8', number, ends)}

local function is_full()
  return size >= FULL
end

-- How many are read next: as many as have room, if they are like the largest.
local function portion()
  if largest == 0 then return 4 end
  return math.min(FEW, math.ceil((FULL - size) / largest))
end

-- Leases what is ready of these, as far as there is room. Answers how many it has looked at.
local function hand_out(queue, these, wanted)
  local keys, leases, leased, known, seen, count = {}, {}, {}, {}, 0, 0
  for i = 1, wanted do keys[i] = P .. 'e:' .. these.ids[i] end
  while seen < wanted and not is_full() do
    for _, envelope in ipairs(call('MGET', unpack(keys, seen + 1, math.min(seen + portion(), wanted)))) do
      seen = seen + 1
      if is_ready(envelope, these.entries[seen], these.letters[seen]) then
        local id, at, bytes = these.ids[seen], 2 * (given + count) + 3, #envelope
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
  local these, wanted, lanes, order = next_ones(queue, limit - given)
  if wanted > 0 then take_all(lanes, order, hand_out(queue, these, wanted)) end
end

local has_more = false
for i = FIRST_QUEUE, #ARGV do
  if given >= limit or is_full() then break end
  if call('SISMEMBER', P .. 'paused', ARGV[i]) == 0 then claim_from(ARGV[i]) end
  has_more = go_on() or has_more
end

-- Where every answer has arrived, and this one gives nothing, the line stays as it is.
if given > 0 or number ~= arrived + 1 then
  call('SET', line, table.concat(heard), 'PXAT', after(now, length + LINGER))
end
if given < limit and (has_more or is_full()) then answer[2] = 1 end
return answer
