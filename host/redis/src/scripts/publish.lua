-- Publishes envelopes, all or none. For each: its id; its place (the priority's digit, the due time: '' now, '+n' after so
-- long, '@n' at that time, a space, and the queue); and what is kept of it behind the head.
-- Answers 1 for each that is new; nothing where more is due than one run can put before them, and nothing is published.

local FIELDS, MOST = 3, 10000
if #ARGV > MOST * FIELDS then return redis.error_reply('ERR too many envelopes for one step') end
local now = time()

-- Places as they were read: most of a batch have the same.
local places = {}

local function due_at(text)
  if text == '' then return now end
  local number = tonumber(text:sub(2))
  return math.min(text:byte() == 43 and now + number or number, now + LONGEST)
end

-- The part of the head that all new envelopes of a place have alike.
local function read_place(text)
  local priority, due, queue = text:match('^(%d)(%S*) (.*)$')
  local at = due_at(due)
  local where = at > now and HELD or IN_LANE
  local place = {queue = queue, priority = priority, at = at > now and string.format('%.0f', at)}
  place.head = pack_bytes('>BBBBI4I4I4I4I4I4', where, 0, priority, 0, 1, 0, 0, 0, 0, 0)
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

local values, due, used, answers, paddings = {}, {}, {}, {}, {}

local function padding(length)
  paddings[length] = paddings[length] or string.rep('\0', 32 - length)
  return paddings[length]
end

local function pin(tail)
  local queue, task, digest = tail:byte(1, 3)
  if digest > 0 then call('HINCRBY', P .. 'pins', tail:sub(4 + queue + task, 3 + queue + task + digest), 1) end
end

local function put(i)
  local id, place, tail = ARGV[i], places[ARGV[i + 1]], ARGV[i + 2]
  local position = place.at
  if position then
    local held = due[place.queue] or {}
    due[place.queue] = held
    held[#held + 1], held[#held + 2] = position, id
  else
    position = append(place.queue, place.priority, id)
  end
  values[#values + 1] = P .. 'e:' .. id
  values[#values + 1] = place.head .. string.char(#position) .. position .. padding(#position) .. tail
  pin(tail)
  used[place.queue] = true
end

for i = 1, #ARGV, FIELDS do
  local is_new = not is_known(ARGV[i])
  if is_new then put(i) end
  answers[#answers + 1] = is_new and '1' or '0'
end

for i = 1, #values, CHUNK do
  call('MSET', unpack(values, i, math.min(i + CHUNK - 1, #values)))
end
for queue, held in pairs(due) do spread(held, 'ZADD', P .. 'due:' .. queue) end
for queue in pairs(used) do call('SADD', P .. 'queues', queue) end
ring(used)
return table.concat(answers)
