-- Lanes: what could run and is with no worker, by queue and priority.
-- Envelopes that became ready together are one entry of a stream, a pack of at most PACK ids. The position of one of them
-- is the entry's id, which says since when it is ready, and a letter for its seat in the pack. Entries are taken from the
-- front; what comes back from a worker, or is left of a pack whose middle was taken out, lies in a sorted set before them.
-- `lanes:QUEUE` says of each lane how many envelopes it has, how many of these came back, and which seat is the next one
-- where a part of the first pack has been taken.

local PACK, BEFORE_A = 16, 96
local LETTERS = {}
for i = 1, PACK do LETTERS[i] = string.char(BEFORE_A + i) end

local lanes = {}

local function read_lane(queue, priority, text)
  local lane = {queue = queue, priority = priority, waiting = 0, returned = 0, next = ''}
  local waiting, returned, next = (text or ''):match('^(%d+) (%d+) (.*)$')
  if waiting then
    lane.waiting, lane.returned, lane.next = tonumber(waiting), tonumber(returned), next
  end
  lane.key, lane.back = P .. 'lane:' .. priority .. ':' .. queue, P .. 'back:' .. priority .. ':' .. queue
  return lane
end

local function lane_of(queue, priority)
  local of_queue = lanes[queue] or {}
  lanes[queue] = of_queue
  local number = tonumber(priority)
  of_queue[number] = of_queue[number] or read_lane(queue, priority, call('HGET', P .. 'lanes:' .. queue, priority))
  return of_queue[number]
end

-- All lanes of a queue.
local function lanes_of(queue)
  local found, kept = {}, call('HGETALL', P .. 'lanes:' .. queue)
  lanes[queue] = {}
  for i = 1, #kept, 2 do
    local lane = read_lane(queue, tonumber(kept[i]), kept[i + 1])
    found[#found + 1], lanes[queue][lane.priority] = lane, lane
  end
  return found
end

-- Writes what has changed; a lane goes with its content. Whatever its number says, what lies there stays.
local function save_lane(lane)
  if lane.waiting <= 0 or lane.returned < 0 then
    lane.returned = call('ZCARD', lane.back)
    lane.waiting = call('XLEN', lane.key) + lane.returned
  end
  if lane.waiting > 0 then
    local kept = string.format('%.0f %.0f ', lane.waiting, lane.returned) .. lane.next
    call('HSET', P .. 'lanes:' .. lane.queue, lane.priority, kept)
  else
    call('DEL', lane.key)
    call('HDEL', P .. 'lanes:' .. lane.queue, lane.priority)
    lane.next = ''
  end
end

-- Counts again in a lane that has nothing, whatever its number says.
local function mend_lane(lane)
  lane.waiting = 0
  save_lane(lane)
end

-- How many envelopes are in the lanes of a queue.
local function waiting_in(queue)
  local sum = 0
  for _, kept in ipairs(call('HVALS', P .. 'lanes:' .. queue)) do sum = sum + kept:match('^%d+') end
  return sum
end

-- Adds envelopes to the end of a lane. Answers the ids of the entries: one for each PACK of them.
local function append(queue, priority, ids)
  local lane, entries = lane_of(queue, priority), {}
  local position = '*'
  if call('EXISTS', lane.key) == 0 then
    -- A lane that was there within this millisecond has given the first numbers: no two entries are called alike.
    position = string.format('%.0f-%.0f', time(), call('INCR', P .. 'seq') % 4096 * 1048576)
  end
  for i = 1, #ids, PACK do
    local pack = table.concat(ids, '', i, math.min(i + PACK - 1, #ids))
    entries[#entries + 1] = call('XADD', lane.key, position, 'i', pack)
    position = '*'
  end
  lane.waiting = lane.waiting + #ids
  save_lane(lane)
  return entries
end

-- The entry and the seat of the so manieth of what was appended.
local function place_of(entries, i)
  local before = (i - 1) % PACK
  return entries[(i - 1 - before) / PACK + 1], LETTERS[before + 1]
end

-- Puts envelopes at the end of their lane, in this order, and writes it into their heads.
local function enter_lane(queue, priority, envelopes)
  local ids = {}
  for i, e in ipairs(envelopes) do ids[i] = e.id end
  local entries = append(queue, priority, ids)
  for i, e in ipairs(envelopes) do
    local entry, letter = place_of(entries, i)
    e.place, e.position = IN_LANE, entry .. letter
    write(e)
  end
end

-- What is left of an entry: its ids, and the number of the first one's seat.
local function left_of(lane, entry)
  local first = 1
  if lane.next ~= '' and lane.next:sub(1, -2) == entry[1] then first = lane.next:byte(-1) - BEFORE_A end
  return ids_in(entry[2][2], ID * (first - 1) + 1), first
end

-- The parts of a position: since when, which entry of that time, and the letter of the seat.
local function parts_of(position)
  local since, number, letter = position:match('^(%d+)-(%d+)(%l)$')
  return since, tonumber(number), letter
end

-- A position and an id as they are kept among what came back: those of one millisecond are in order.
local function seat_of(number, letter, id)
  return pack_bytes('>I8', number) .. letter .. id
end

local function read_seat(seat)
  return unpack_bytes('>I8', seat), seat:byte(9), seat:sub(10)
end

-- Puts an envelope back where it lay: before all that nobody has had yet.
local function give_back(e)
  local lane = lane_of(e.queue, e.priority)
  local since, number, letter = parts_of(e.position)
  local added = call('ZADD', lane.back, since, seat_of(number, letter, e.id))
  lane.waiting, lane.returned = lane.waiting + added, lane.returned + added
  save_lane(lane)
end

-- Takes a waiting envelope out of its lane; the rest of its pack lies before the other packs then.
local function leave_lane(e)
  local lane = lane_of(e.queue, e.priority)
  local since, number, letter = parts_of(e.position)
  local removed = call('ZREM', lane.back, seat_of(number, letter, e.id))
  lane.returned = lane.returned - removed
  local entry = removed == 0 and call('XRANGE', lane.key, e.position:sub(1, -2), e.position:sub(1, -2))[1]
  if entry then
    local seats, ids, first = {}, left_of(lane, entry)
    for i, id in ipairs(ids) do
      if id ~= e.id then
        seats[#seats + 1], seats[#seats + 2] = since, seat_of(number, LETTERS[first + i - 1], id)
      end
    end
    call('XDEL', lane.key, entry[1])
    if #seats > 0 then call('ZADD', lane.back, unpack(seats)) end
    removed, lane.returned = #ids - #seats / 2, lane.returned + #seats / 2
    if first > 1 then lane.next = '' end
  end
  lane.waiting = lane.waiting - removed
  save_lane(lane)
end
