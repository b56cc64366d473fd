-- Publishes envelopes, all or none. For each: its id, queue, priority, due time ('' now, '+n' after so long, '@n' at
-- that time), the module that it is pinned to, and what is kept of it behind the head. Answers 1 for each that is new.

local now = time()
local FIELDS = 6

local queues, known_keys = {}, {}
for i = 1, #ARGV, FIELDS do
  local id = ARGV[i]
  queues[ARGV[i + 1]] = true
  known_keys[#known_keys + 1] = P .. 'e:' .. id
  known_keys[#known_keys + 1] = P .. 'r:' .. id
  if is_derived(id) then known_keys[#known_keys + 1] = P .. 'm:' .. id end
end

-- What is due joined its lane before what is published now.
for queue in pairs(queues) do promote(queue, now) end

local are_all_new = spread(known_keys, 'EXISTS') == 0

local function is_known(id)
  if are_all_new then return false end
  local e = read(id)
  if e and e.place == DEAD and died_at(e) + WEEK <= now then
    exhume(e)
    forget_later(e)
    forget_doomed()
  end
  return call('EXISTS', P .. 'e:' .. id, P .. 'r:' .. id, P .. 'm:' .. id) > 0
end

local function due_at(text)
  if text == '' then return now end
  local number = tonumber(text:sub(2))
  return text:byte() == 43 and now + number or number
end

local values, due, used, answers = {}, {}, {}, {}
local number = call('INCRBY', P .. 'seq', math.ceil(#ARGV / FIELDS)) - #ARGV / FIELDS
local since = string.format('%.0f', now)
local heads, paddings = {}, {}

-- The part of the head that all new envelopes have alike.
local function head_of(place, priority)
  local key = place .. priority
  heads[key] = heads[key] or pack_bytes('>BBBBI4I4I4I4I4I4', place, 0, priority, 0, 1, 0, 0, 0, 0, 0)
  return heads[key]
end

local function padded(position)
  local length = #position
  paddings[length] = paddings[length] or string.rep('\0', 32 - length)
  return string.char(length) .. position .. paddings[length]
end

local function put(i)
  local id, queue, priority, at = ARGV[i], ARGV[i + 1], ARGV[i + 2], due_at(ARGV[i + 3])
  local place, position = IN_LANE, nil
  number = number + 1
  if at <= now then
    position = append(queue, priority, since, id, number)
  else
    place, position = HELD, string.format('%.0f', at)
    due[queue] = due[queue] or {}
    table.insert(due[queue], position)
    table.insert(due[queue], id)
  end
  values[#values + 1] = P .. 'e:' .. id
  values[#values + 1] = head_of(place, priority) .. padded(position) .. ARGV[i + 5]
  if ARGV[i + 4] ~= '' then call('HINCRBY', P .. 'pins', ARGV[i + 4], 1) end
  used[queue] = true
end

for i = 1, #ARGV, FIELDS do
  local is_new = not is_known(ARGV[i])
  if is_new then put(i) end
  answers[#answers + 1] = is_new and '1' or '0'
end

for i = 1, #values, CHUNK do
  call('MSET', unpack(values, i, math.min(i + CHUNK - 1, #values)))
end
for queue, pairs_of_due in pairs(due) do spread(pairs_of_due, 'ZADD', P .. 'due:' .. queue) end
for queue in pairs(used) do call('SADD', P .. 'queues', queue) end
ring(used)
return table.concat(answers)
