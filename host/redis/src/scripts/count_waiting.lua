-- How many envelopes of some tasks wait in a chunk of a queue. Takes the queue, a lane's priority or '' for what is held,
-- where to go on ('' at the beginning), and the tasks. Answers where to go on, '' at the end, and a count for each task.
-- What is held or came back is read from its end: what falls due or is claimed meanwhile moves nothing.

local queue, priority, after = ARGV[1], ARGV[2], ARGV[3]
local ids, next_one = {}, ''

-- What nobody has had yet in a lane, and then what came back: what leaves a broken pack meanwhile is met there. Answers
-- where to go on.
local function look_in_lane()
  local lane, packs = lane_of(queue, priority), math.floor(CHUNK / PACK)
  local first = tonumber(after:match('^back (%d+)$'))
  if first then
    local seats = call('ZREVRANGE', lane.back, first, first + CHUNK - 1)
    for i, seat in ipairs(seats) do
      local _, _, id = read_seat(seat)
      ids[i] = id
    end
    return #seats == CHUNK and 'back ' .. first + CHUNK or ''
  end
  local entries = call('XRANGE', lane.key, after == '' and '-' or '(' .. after, '+', 'COUNT', packs)
  for _, entry in ipairs(entries) do
    for _, id in ipairs(left_of(lane, entry)) do ids[#ids + 1] = id end
  end
  return #entries == packs and entries[packs][1] or 'back 0'
end

if priority == '' then
  local first = tonumber(after) or 0
  ids = call('ZREVRANGE', P .. 'due:' .. queue, first, first + CHUNK - 1)
  if #ids == CHUNK then next_one = tostring(first + CHUNK) end
else
  next_one = look_in_lane()
end

local counts = {}
for _, id in ipairs(ids) do
  local e = read(id)
  if e then
    local task = call('GETRANGE', e.key, e.task_at, e.task_at + e.task_length - 1)
    counts[task] = (counts[task] or 0) + 1
  end
end

local answer = {next_one}
for i = 4, #ARGV do answer[#answer + 1] = counts[ARGV[i]] or 0 end
return answer
