-- Publishes envelopes, all or none. For each: its id; its place (the priority's digit, the due time: '' now, '+n' after so
-- long, '@n' at that time, a space, and the queue); and what is kept of it behind the head.
-- Answers 1 for each that is new; nothing where more is due than one run can put before them, and nothing is published.

local FIELDS, MOST = 3, 10000
if #ARGV > MOST * FIELDS then return redis.error_reply('ERR too many envelopes for one step') end
local now = time()

-- Places as they were read: most of a batch have the same. In the order in which they came.
local places, in_order = {}, {}

local function due_at(text)
  if text == '' then return now end
  local number = tonumber(text:sub(2))
  return math.min(text:byte() == 43 and now + number or number, now + LONGEST)
end

-- The part of the head that all new envelopes of a place have alike, and what is put there.
local function read_place(text)
  local priority, due, queue = text:match('^(%d)(%S*) (.*)$')
  local at = due_at(due)
  local is_held = at > now
  local plain = priority .. ' ' .. queue
  local place = not is_held and places[plain]
  if not place then
    place = {queue = queue, priority = priority, at = is_held and string.format('%.0f', at), ids = {}, tails = {}}
    place.head = pack_bytes('>BBBBI4I4I4I4I4I4', is_held and HELD or IN_LANE, 0, priority, 0, 1, 0, 0, 0, 0, 0)
    in_order[#in_order + 1] = place
    if not is_held then places[plain] = place end
  end
  places[text] = place
  return place
end

local queues, known_keys = {}, {}
for i = 1, #ARGV, FIELDS do
  local id, place = ARGV[i], places[ARGV[i + 1]] or read_place(ARGV[i + 1])
  queues[place.queue] = true
  known_keys[#known_keys + 1] = P .. 'e:' .. id
  if is_derived(id) then known_keys[#known_keys + 1] = P .. 'm:' .. id end
end

-- What is due joined its lane before what is published now.
for queue in pairs(queues) do promote(queue, now) end
if is_more then return false end

local are_all_new = spread(known_keys, 'EXISTS') == 0

local function is_known(id)
  if are_all_new then return false end
  local e = read(id)
  if e and e.place == DEAD and died_at(e) + WEEK <= now then
    exhume(e)
    forget_later(e, '')
    forget_doomed()
  end
  return call('EXISTS', P .. 'e:' .. id, P .. 'm:' .. id) > 0
end

local values, used, answers, paddings = {}, {}, {}, {}

local function padding(length)
  paddings[length] = paddings[length] or string.rep('\0', 32 - length)
  return paddings[length]
end

local function pin(tail)
  local queue, task, digest = tail:byte(1, 3)
  if digest > 0 then call('HINCRBY', P .. 'pins', tail:sub(4 + queue + task, 3 + queue + task + digest), 1) end
end

local function put(place, i, position, letter)
  values[#values + 1] = P .. 'e:' .. place.ids[i]
  local length, tail = #position + #letter, place.tails[i]
  values[#values + 1] = place.head .. string.char(length) .. position .. letter .. padding(length) .. tail
  pin(tail)
end

local function line_up(place)
  local entries = append(place.queue, place.priority, place.ids)
  for i = 1, #place.ids do put(place, i, place_of(entries, i)) end
end

local function hold(place)
  local held = {}
  for i, id in ipairs(place.ids) do
    put(place, i, place.at, '')
    held[2 * i - 1], held[2 * i] = place.at, id
  end
  spread(held, 'ZADD', P .. 'due:' .. place.queue)
end

for i = 1, #ARGV, FIELDS do
  local id, place = ARGV[i], places[ARGV[i + 1]]
  local is_new = not is_known(id)
  if is_new then place.ids[#place.ids + 1], place.tails[#place.tails + 1] = id, ARGV[i + 2] end
  answers[#answers + 1] = is_new and '1' or '0'
end

for _, place in ipairs(in_order) do
  if #place.ids > 0 then
    used[place.queue] = true
    if place.at then hold(place) else line_up(place) end
  end
end

for i = 1, #values, CHUNK do
  call('MSET', unpack(values, i, math.min(i + CHUNK - 1, #values)))
end
for queue in pairs(used) do call('SADD', P .. 'queues', queue) end
ring(used)
return table.concat(answers)
