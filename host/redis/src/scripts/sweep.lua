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
    forget_later(e)
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

-- Consumers of workers that went long ago, with nothing pending: one with something pending goes when that is rescued.
local function sweep_lane(lane)
  for _, consumer in ipairs(call('XINFO', 'CONSUMERS', lane)) do
    local about = {}
    for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
    if about.pending == 0 and about.idle > HOUR and about.name ~= RETURNED then
      call('XGROUP', 'DELCONSUMER', lane, GROUP, about.name)
      swept = swept + 1
    end
  end
end

local function sweep_queue(queue)
  local lanes = call('HKEYS', P .. 'lanes:' .. queue)
  for _, priority in ipairs(lanes) do sweep_lane(P .. 'lane:' .. priority .. ':' .. queue) end
  local is_used = #lanes > 0 or call('HEXISTS', P .. 'deaths', queue) == 1
    or call('EXISTS', P .. 'due:' .. queue, P .. 'leased:' .. queue) > 0
  if not is_used then swept = swept + call('SREM', P .. 'queues', queue) end
end

-- A few of the queues at a time: every one comes up.
for _, queue in ipairs(call('SRANDMEMBER', P .. 'queues', math.min(limit, 20))) do sweep_queue(queue) end
return swept
