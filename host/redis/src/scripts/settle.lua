-- Ends deliveries, all of them or, where one cannot be ended as it was sent, none. Takes their number, and for each its
-- lease; what becomes of it (a ack, r retry, s snooze, f fault, l release, d dead letter) with a delay or a charge; its
-- grave; its record, and how long that is kept. Then the sums of what attempts used.
-- Answers 1 where all is done; else for each 1 as it should be, 0 its lease was lost, or the record that it continues.

local FIELDS = 5
local number = tonumber(ARGV[1])
local now = time()

-- The envelope of a lease that may still be held: its delivery has the number after the last one that ended.
local function find(i)
  local lease = ARGV[i]
  local e = read(lease:sub(1, 16))
  if not e or e.place ~= IN_LANE then return 0 end
  e.delivery = unpack_bytes('>I4', lease, 17)
  return e.delivery == e.deliveries + 1 and e or 0
end

-- The record that is kept, where it is not the one that the sent record continues; else 1.
local function compare(e, body)
  if body == '' then return 1 end
  local revision = has(e.flags, RECORDED) and record(e.id).revision or 0
  if revision == continues(body) then return 1 end
  return call('GET', P .. 'r:' .. e.id) or ''
end

local envelopes, answers, leases, is_as_sent = {}, {}, {}, true
for n = 1, number do
  local i = 2 + (n - 1) * FIELDS
  local e = find(i)
  envelopes[n] = e
  answers[n] = e ~= 0 and compare(e, ARGV[i + 3]) or 0
  if e ~= 0 then
    local of_queue = leases[e.queue]
    if not of_queue then
      of_queue = {held = {}, numbers = {}}
      leases[e.queue] = of_queue
    end
    local at = #of_queue.held + 1
    of_queue.held[at], of_queue.numbers[at] = ARGV[i], n
  end
  if answers[n] ~= 1 then is_as_sent = false end
end

for queue, of_queue in pairs(leases) do
  for i = 1, #of_queue.held, CHUNK do
    local last = math.min(i + CHUNK - 1, #of_queue.held)
    local scores = call('ZMSCORE', P .. 'leased:' .. queue, unpack(of_queue.held, i, last))
    for j = i, last do
      if not scores[j - i + 1] then answers[of_queue.numbers[j]], is_as_sent = 0, false end
    end
  end
end
if not is_as_sent then return answers end

local rung = {}

-- What was cancelled meanwhile waits for nothing: its next delivery ends it.
local function hold(e, delay)
  local is_cancelled = has(e.flags, ASK) or has(e.flags, NOW)
  local at = is_cancelled and now or now + delay
  leave_later(e)
  e.place, e.position = HELD, string.format('%.0f', at)
  call('ZADD', P .. 'due:' .. e.queue, e.position, e.id)
end

local function bury(e, charge, grave)
  leave_later(e)
  local seat = call('INCR', P .. 'seq')
  e.place, e.attempts, e.position = DEAD, e.attempts + charge, now .. '-' .. seat
  call('ZADD', P .. 'dead', seat, e.id)
  call('HSET', P .. 'graves', e.id, grave)
  call('HINCRBY', P .. 'deaths', e.queue, 1)
end

local become = {
  a = function(e)
    leave_later(e)
    forget_later(e)
  end,
  r = function(e, delay)
    e.attempts, e.faults, e.flags = e.attempts + 1, 0, with(e.flags, RETRY)
    hold(e, delay)
  end,
  s = function(e, delay)
    e.snoozes, e.faults = e.snoozes + 1, 0
    hold(e, delay)
  end,
  f = function(e, delay)
    e.faults = e.faults + 1
    hold(e, delay)
  end,
  l = give_back,
  d = bury,
}

-- Only a replay can go on from a checkpoint: it waits for one as long as the dead letter does.
local function keep_checkpoint(e, kind, ttl)
  local key = P .. 'k:' .. e.id
  if kind == 'd' then
    call('HDEL', key, 'p')
    call('PEXPIRE', key, WEEK)
  elseif ttl ~= '0' then
    call('PEXPIRE', key, ttl, 'GT')
  end
end

for n = 1, number do
  local e, i = envelopes[n], 2 + (n - 1) * FIELDS
  local kind, amount = ARGV[i + 1]:sub(1, 1), tonumber(ARGV[i + 1]:sub(2)) or 0
  local body, ttl = ARGV[i + 3], ARGV[i + 4]
  if body ~= '' then
    call('SET', P .. 'r:' .. e.id, body, 'PX', ttl)
    e.flags = with(e.flags, RECORDED)
  end
  e.deliveries, e.losses = e.delivery, 0
  become[kind](e, amount, ARGV[i + 2])
  if kind ~= 'a' then
    if has(e.flags, KEPT) then keep_checkpoint(e, kind, ttl) end
    write(e)
    rung[e.queue] = true
  end
end

for queue, of_queue in pairs(leases) do spread(of_queue.held, 'ZREM', P .. 'leased:' .. queue) end
leave_lanes()
forget_doomed()
add_usage(now, 2 + number * FIELDS)
ring(rung)
call('PUBLISH', P .. 'records', '')
return 1
