-- Dead letters that a filter lets through, from a seat on. Takes the seat, whether the oldest come first, how many are
-- wanted, whether they are only counted, and the filter: queue, task, reason, and since when.
-- Answers the seat at which to go on ('' at the end), their number, and each letter's id, envelope and grave.

local seat, is_oldest_first, wanted, is_count = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3]), ARGV[4] == '1'
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

local number, answer = 0, {'', 0}
local found = seats()
for i = 1, #found, 2 do
  local id = found[i]
  local e, grave = dead(id, now), call('HGET', P .. 'graves', id)
  if e and grave and is_meant(e, grave) then
    number = number + 1
    if not is_count then
      answer[#answer + 1] = id
      answer[#answer + 1] = call('GET', P .. 'e:' .. id)
      answer[#answer + 1] = grave
    end
  end
  if number == wanted and not is_count then break end
  if i + 1 == 2 * CHUNK then answer[1] = found[i + 1] end
end
answer[2] = number
return answer
