-- What the scripts share that bring envelopes back into their lanes: what falls due, and what its worker gives up. One run
-- looks at a bounded number, and knows whether a queue may have more: then nothing else is done there before another run.

local budget, is_more = CHUNK, false
-- What is brought back of a queue however much others had: none waits for another.
local LEAST = 64

local function spend(number)
  budget = math.max(0, budget - number)
end

-- Puts what has fallen due at the end of its lane, in the order in which it fell due.
local function promote(queue, now)
  local held = P .. 'due:' .. queue
  local due = call('ZRANGEBYSCORE', held, '-inf', now, 'LIMIT', 0, budget + 1)
  if #due > budget then
    is_more = true
    due[#due] = nil
  end
  local ready = {}
  for _, id in ipairs(due) do
    local e = read(id)
    if e then
      if has(e.flags, RETRY) then e.flags = e.flags - RETRY end
      ready[e.priority] = ready[e.priority] or {}
      table.insert(ready[e.priority], e)
    end
  end
  for priority, envelopes in pairs(ready) do enter_lane(queue, priority, envelopes) end
  spread(due, 'ZREM', held)
  spend(#due)
end

-- Puts back what a worker had: its delivery has ended, and no attempt is charged.
local function put_back(id, losses)
  local e = read(id)
  if not e then return end
  e.deliveries, e.losses = e.deliveries + 1, e.losses + losses
  write(e)
  give_back(e)
end

-- Looks at what was claimed together: what its worker has lost goes back, and at the rest is looked when it may next end.
local function look_at(queue, batch, now)
  local ids, lost, alive, first = ids_in(batch, 1), {}, {}, math.huge
  for i, lease in ipairs(call('HMGET', P .. 'leased', unpack(ids))) do
    local _, ends
    if lease then _, ends = unpack_bytes('>I4I8', lease) end
    if ends and ends <= now then
      lost[#lost + 1] = ids[i]
    elseif ends then
      alive[#alive + 1], first = ids[i], math.min(first, ends)
    end
  end
  for _, id in ipairs(lost) do put_back(id, 1) end
  -- What was claimed several times is in several batches, and has one lease to lose.
  remove_leases(queue, lost)
  index_leases(queue, first, alive)
  spend(#ids)
end

-- Begins with another queue, whatever the one before it has left to do. Answers whether that had more.
local function go_on()
  local had_more = is_more
  budget, is_more = math.max(budget, LEAST), false
  return had_more
end

-- Puts back what its worker has lost.
local function rescue(queue, now)
  local index = P .. 'ends:' .. queue
  while true do
    local few = math.max(1, math.min(16, math.floor(budget / BATCH)))
    local batches = call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, few)
    if #batches == 0 then return end
    if budget == 0 then
      is_more = true
      return
    end
    spread(batches, 'ZREM', index)
    for _, batch in ipairs(batches) do look_at(queue, batch, now) end
    if #batches < few then return end
  end
end
