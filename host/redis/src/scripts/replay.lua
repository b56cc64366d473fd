-- Puts dead letters back at the end of their lanes as a new generation, in the order given. Answers 1 for each that was
-- there; nothing where more is due than one run can put before them, and nothing is replayed.

local now = time()
local answers, replayed, rung = {}, {}, {}

-- What is due joined its lane before.
local queues = {}
for _, id in ipairs(ARGV) do
  local e = dead(id, now)
  if e and not queues[e.queue] then
    queues[e.queue] = true
    promote(e.queue, now)
  end
end
if is_more then return false end

local function replay(id)
  local e = dead(id, now)
  if not e then return 0 end
  exhume(e)
  e.generation = e.generation + 1
  e.attempts, e.losses, e.snoozes, e.faults = 0, 0, 0, 0
  e.flags = (has(e.flags, RECORDED) and RECORDED or 0) + (has(e.flags, KEPT) and KEPT or 0)
  enter_lane(e.queue, e.priority, {e})
  -- Its record and its checkpoint live on with it.
  call('PEXPIRE', P .. 'r:' .. id, MONTH, 'GT')
  call('PEXPIRE', P .. 'k:' .. id, MONTH, 'GT')
  call('SADD', P .. 'queues', e.queue)
  rung[e.queue] = true
  replayed[#replayed + 1] = id
  return 1
end

for _, id in ipairs(ARGV) do answers[#answers + 1] = replay(id) end
ring(rung)
tell(replayed)
return table.concat(answers)
