-- Dead letters that a filter lets through, from a seat on, as many as an answer holds. Takes the seat, whether the oldest
-- come first, how many are wanted, what of them (0 their number, 1 their heads and names, 2 their bytes too), and the
-- filter: queue, task, reason, and since when.
-- Answers the seat at which to go on ('' at the end), their number, and each letter's id, envelope and grave.

local COUNT, HEADS = 0, 1
local seat, is_oldest_first, wanted, form = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3]), tonumber(ARGV[4])
local queue, task, reason, since = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local now = time()

local function seats()
  if is_oldest_first then
    return call('ZRANGEBYSCORE', P .. 'dead', '(' .. seat, '+inf', 'WITHSCORES', 'LIMIT', 0, CHUNK)
  end
  return call('ZREVRANGEBYSCORE', P .. 'dead', '(' .. seat, '-inf', 'WITHSCORES', 'LIMIT', 0, CHUNK)
end

local function is_meant(e, grave)
  if died_at(e) < since or (queue ~= '' and queue ~= e.queue) then return false end
  if reason ~= '' and reason ~= grave:match('^[^%z]*') then return false end
  if task == '' then return true end
  return task == call('GETRANGE', P .. 'e:' .. e.id, e.task_at, e.task_at + e.task_length - 1)
end

local number, size, answer = 0, 0, {'', 0}
local found = seats()
for i = 1, #found, 2 do
  local id = found[i]
  local e, grave = dead(id, now), call('HGET', P .. 'graves', id)
  if e and grave and is_meant(e, grave) then
    number = number + 1
    if form ~= COUNT then
      local envelope = form == HEADS and head_of(e) or call('GET', e.key)
      answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = id, envelope, grave
      size = size + #envelope + #grave
    end
  end
  if number == wanted and form ~= COUNT then break end
  if i + 1 == 2 * CHUNK or size >= FULL then answer[1] = found[i + 1] end
  if size >= FULL then break end
end
answer[2] = number
return answer
