-- Ends deliveries, all of them or, where one cannot be ended as it was sent, none. Takes their number, and for each its
-- receipt (the id, the delivery, what becomes of it: a ack, r retry, s snooze, f fault, l release, d dead letter, and a
-- delay or a charge, and one byte more where it was sent before); its grave; its record, and how long that is kept. Then the sums of what attempts used.
-- Answers 1 where all is done; else for each 1 as it should be, 0 its lease was lost, the record that it continues, or, in
-- a list, a record that says whether it was ended by this very delivery before.

local FIELDS = 4
local number = tonumber(ARGV[1])
local now = time()

-- The envelope of a lease that may still be held: its delivery has the number after the last one that ended.
local function find(receipt)
  local e = read(receipt:sub(1, 16))
  if not e or e.place ~= IN_LANE then return nil end
  e.delivery = unpack_bytes('>I4', receipt, 17)
  return e.delivery == e.deliveries + 1 and e or nil
end

-- The record that is kept, where it is not the one that the sent record continues; else 1.
local function compare(e, body)
  if body == '' then return 1 end
  local revision = has(e.flags, RECORDED) and record(e.id, e).revision or 0
  if revision == continues(body) then return 1 end
  return call('GET', P .. 'r:' .. e.id) or ''
end

-- What is kept where a delivery has no lease any more, and may have been ended by what was sent before.
local RECEIPT = 29
local function lost(receipt, body)
  if body == '' or #receipt == RECEIPT then return 0 end
  local id = receipt:sub(1, 16)
  local e = read(id)
  if record(id, e).delivery < unpack_bytes('>I4', receipt, 17) then return 0 end
  return {call('GET', record_key(id, e))}
end

local ACK = string.byte('a')
local answers, is_as_sent = {}, true
-- The envelopes that were looked at, and the ids of all by queue.
local envelopes, ids_of = {}, {}

local function add(queue, id)
  local ids = ids_of[queue] or {}
  ids_of[queue] = ids
  ids[#ids + 1] = id
end

-- Looks at an envelope that has flags, or does not end with its first record.
local function look(n)
  local i = 2 + (n - 1) * FIELDS
  local e = find(ARGV[i])
  envelopes[n] = e
  answers[n] = e and compare(e, ARGV[i + 2]) or lost(ARGV[i], ARGV[i + 2])
  if answers[n] == 1 then add(e.queue, e.id) else is_as_sent = false end
end

local ids, leases = {}, {}
for n = 1, number do ids[n] = ARGV[2 + (n - 1) * FIELDS]:sub(1, 16) end
for i = 1, number, CHUNK do
  local kept = call('HMGET', P .. 'leased', unpack(ids, i, math.min(i + CHUNK - 1, number)))
  for j, lease in ipairs(kept) do
    local n = i + j - 1
    local receipt, body = ARGV[2 + (n - 1) * FIELDS], ARGV[4 + (n - 1) * FIELDS]
    -- What was claimed together has the same lease.
    local known = lease and (leases[lease] or unpack_lease(lease))
    if known then leases[lease] = known end
    if not known or known.delivery ~= unpack_bytes('>I4', receipt, 17) then
      answers[n], is_as_sent = lost(receipt, body), false
    elseif known.plain == PLAIN and receipt:byte(21) == ACK and (body == '' or continues(body) == 0) then
      answers[n] = 1
      add(known.queue, ids[n])
    else
      look(n)
    end
  end
end
if not is_as_sent then return answers end

local rung = {}

-- What was cancelled meanwhile waits for nothing: its next delivery ends it.
local function hold(e, delay)
  local is_cancelled = has(e.flags, ASK) or has(e.flags, NOW)
  local at = is_cancelled and now or now + math.min(delay, LONGEST)
  e.place, e.position = HELD, string.format('%.0f', at)
  call('ZADD', P .. 'due:' .. e.queue, e.position, e.id)
end

local function bury(e, charge, grave)
  local seat = call('INCR', P .. 'seq')
  e.place, e.attempts, e.position = DEAD, e.attempts + charge, now .. '-' .. seat
  call('ZADD', P .. 'dead', seat, e.id)
  call('HSET', P .. 'graves', e.id, grave)
  call('HINCRBY', P .. 'deaths', e.queue, 1)
end

local become = {
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
  local body, ttl = ARGV[i + 2], ARGV[i + 3]
  if not e then
    let_go(ids[n], P .. 'e:' .. ids[n], body, after(now, ttl))
  elseif ARGV[i]:byte(21) == ACK then
    forget_later(e, body, after(now, ttl))
  else
    if body ~= '' then
      call('SET', P .. 'r:' .. e.id, body, 'PXAT', after(now, ttl))
      e.flags = with(e.flags, RECORDED)
    end
    local kind, amount = ARGV[i]:sub(21, 21), unpack_bytes('>I8', ARGV[i], 22)
    e.deliveries, e.losses = e.delivery, 0
    become[kind](e, amount, ARGV[i + 1])
    if has(e.flags, KEPT) then keep_checkpoint(e, kind, ttl) end
    write(e)
    rung[e.queue] = true
  end
end

for queue, ended in pairs(ids_of) do end_leases(queue, ended) end
forget_doomed()
add_usage(now, 2 + number * FIELDS)
ring(rung)
tell(ids)
return 1
