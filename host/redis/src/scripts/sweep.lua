-- Removes at most about so many of what has outlived its retention, and says how many went. Records, marks, sums and
-- commands go by themselves.

local HOUR = 3600000
local limit, now = tonumber(ARGV[1]), time()
local swept = 0

for _, id in ipairs(call('ZRANGE', P .. 'dead', 0, limit - 1)) do
  local e = read(id)
  if e and died_at(e) + WEEK > now then break end
  if e then
    exhume(e)
    forget_later(e, '')
  else
    call('ZREM', P .. 'dead', id)
    call('HDEL', P .. 'graves', id)
  end
  swept = swept + 1
end
forget_doomed()

local workers = call('HGETALL', P .. 'workers')
for i = 1, #workers, 2 do
  if unpack_bytes('>I8', workers[i + 1]) + HOUR < now then
    swept = swept + call('HDEL', P .. 'workers', workers[i])
  end
end

local function sweep_queue(queue)
  local is_used = call('HEXISTS', P .. 'deaths', queue) + call('HEXISTS', P .. 'running', queue)
    + call('EXISTS', P .. 'lanes:' .. queue, P .. 'due:' .. queue) > 0
  if not is_used then swept = swept + call('SREM', P .. 'queues', queue) end
end

-- A few of the queues at a time: every one comes up.
for _, queue in ipairs(call('SRANDMEMBER', P .. 'queues', math.min(limit, 20))) do sweep_queue(queue) end
return swept
