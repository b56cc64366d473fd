-- Every queue that holds something or is paused: its name, whether it is paused, and how many envelopes are queued,
-- scheduled, running and dead in it. What was lost goes back first; answers nothing where there is more of it. A queue that
-- holds nothing is forgotten.

local now = time()
local answer, paused = {}, {}

local function status(queue)
  local waiting = waiting_in(queue)
  local running = tonumber(call('HGET', P .. 'running', queue) or 0)
  local due = call('ZCOUNT', P .. 'due:' .. queue, '-inf', now)
  local scheduled = call('ZCARD', P .. 'due:' .. queue) - due
  local dead = tonumber(call('HGET', P .. 'deaths', queue) or 0)
  return waiting + due, scheduled, running, dead
end

for _, queue in ipairs(call('SMEMBERS', P .. 'paused')) do paused[queue] = true end
local names = call('SUNION', P .. 'queues', P .. 'paused')
for _, queue in ipairs(names) do rescue(queue, now) end
if is_more then return false end

for _, queue in ipairs(names) do
  local queued, scheduled, running, dead = status(queue)
  if queued + scheduled + running + dead > 0 or paused[queue] then
    answer[#answer + 1] = {queue, paused[queue] and 1 or 0, queued, scheduled, running, dead}
  else
    call('SREM', P .. 'queues', queue)
  end
end
return answer
