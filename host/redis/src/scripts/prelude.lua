-- What all scripts share: the names of keys, the head of an envelope, lanes, leases and fences.
-- KEYS[1] is the namespace's prefix with its hash tag: every other key begins with it, so all lie in one slot.

local P = KEYS[1]
local GROUP = 'workers'
-- Owns the entries that came back: no worker can have this name.
local RETURNED = '~'
local CHUNK = 1000
local WEEK, MONTH = 604800000, 2592000000
local IN_LANE, HELD, DEAD = 1, 2, 3
local RECORDED, KEPT, RETRY, ASK, NOW = 1, 2, 4, 8, 16

local call, pack_bytes, unpack_bytes = redis.call, struct.pack, struct.unpack

local function time()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Calls a command with a list of arguments of any length behind the given ones, and adds its answers up.
local function spread(list, command, ...)
  local sum = 0
  for i = 1, #list, CHUNK do
    local arguments = {...}
    for j = i, math.min(i + CHUNK - 1, #list) do arguments[#arguments + 1] = list[j] end
    sum = sum + call(command, unpack(arguments))
  end
  return sum
end

local function has(flags, flag)
  return math.floor(flags / flag) % 2 == 1
end

local function with(flags, flag)
  return has(flags, flag) and flags or flags + flag
end

-- Version 8 of UUIDs: derived from a parent and a key.
local function is_derived(id)
  return math.floor(id:byte(7) / 16) == 8
end

local function ring(queues)
  for queue in pairs(queues) do call('PUBLISH', P .. 'work', queue) end
end

-- === envelopes ===

-- What an envelope is but for its bytes; nothing where there is none.
local function read(id)
  local key = P .. 'e:' .. id
  local s = call('GETRANGE', key, 0, 191)
  if s == '' then return nil end
  local place, flags, priority, _, generation, attempts, deliveries, losses, snoozes, faults, length =
    unpack_bytes('>BBBBI4I4I4I4I4I4B', s)
  local queue, task, digest = s:byte(62, 64)
  -- One constructor with all fields: a table that grows is built anew each time.
  return {
    id = id, key = key, place = place, flags = flags, priority = priority, generation = generation,
    attempts = attempts, deliveries = deliveries, losses = losses, snoozes = snoozes, faults = faults,
    position = s:sub(30, 29 + length), queue = s:sub(65, 64 + queue), task_at = 64 + queue, task_length = task,
    is_pinned = digest > 0, delivery = 0,
  }
end

-- Writes what changes during its life; the rest stays as it was published.
local function write(e)
  local head = pack_bytes('>BBBBI4I4I4I4I4I4B', e.place, e.flags, e.priority, 0, e.generation, e.attempts,
    e.deliveries, e.losses, e.snoozes, e.faults, #e.position)
  call('SETRANGE', e.key, 0, head .. e.position)
end

local lanes = {}

local function lane_of(e)
  local of_queue = lanes[e.queue]
  if not of_queue then
    of_queue = {}
    lanes[e.queue] = of_queue
  end
  local lane = of_queue[e.priority]
  if not lane then
    lane = P .. 'lane:' .. e.priority .. ':' .. e.queue
    of_queue[e.priority] = lane
  end
  return lane
end

local function lease_of(id, delivery)
  return id .. pack_bytes('>I4', delivery)
end

-- Until when its present delivery is leased; nothing where it is with no worker. Deliveries are counted when they end:
-- the one that runs has the next number.
local function leased_until(e)
  if e.place ~= IN_LANE then return nil end
  local score = call('ZSCORE', P .. 'leased:' .. e.queue, lease_of(e.id, e.deliveries + 1))
  return score and tonumber(score)
end

-- Who holds its entry, where anybody does: a worker, or nobody since it came back.
local function holder(e)
  local pending = call('XPENDING', lane_of(e), GROUP, e.position, e.position, 1)
  return pending[1] and pending[1][2]
end

-- === lanes ===

local opened = {}

-- Adds an envelope to the end of its lane, ready since this time: the entry's id says when, and which came first.
local function append(queue, priority, since, id, number)
  local lane = P .. 'lane:' .. priority .. ':' .. queue
  if not opened[lane] then
    if call('HSETNX', P .. 'lanes:' .. queue, priority, 0) == 1 then
      call('XGROUP', 'CREATE', lane, GROUP, '0', 'MKSTREAM')
    end
    opened[lane] = true
  end
  number = number or call('INCR', P .. 'seq')
  local position = since .. '-' .. number
  local added = redis.pcall('XADD', lane, position, 'i', id)
  if type(added) == 'table' then
    -- The lane's last entry is younger, after a clock was set back: this one still joins behind it.
    local about = call('XINFO', 'STREAM', lane)
    for i = 1, #about, 2 do
      if about[i] == 'last-generated-id' then
        position = about[i + 1]:match('^%d+') .. '-' .. number
      end
    end
    call('XADD', lane, position, 'i', id)
  end
  return position
end

local leaving = {}

-- Takes an envelope's entry out of its lane, with `leave_lanes`.
local function leave_later(e)
  local lane = lane_of(e)
  local gone = leaving[lane]
  if not gone then
    gone = {queue = e.queue, priority = e.priority, positions = {}}
    leaving[lane] = gone
  end
  gone.positions[#gone.positions + 1] = e.position
end

-- A lane goes with its content, and its group and consumers with it.
local function leave_lanes()
  for lane, gone in pairs(leaving) do
    spread(gone.positions, 'XACK', lane, GROUP)
    spread(gone.positions, 'XDEL', lane)
    if call('XLEN', lane) == 0 then
      call('DEL', lane)
      call('HDEL', P .. 'lanes:' .. gone.queue, gone.priority)
      opened[lane] = nil
    end
  end
  leaving = {}
end

-- Puts an entry back where it lay: before all that nobody has had yet.
local function give_back(e)
  call('XCLAIM', lane_of(e), GROUP, RETURNED, 0, e.position, 'JUSTID')
  call('HINCRBY', P .. 'lanes:' .. e.queue, e.priority, 1)
end

-- Puts what has fallen due at the end of its lane, in the order in which it fell due.
local function promote(queue, now)
  local held = P .. 'due:' .. queue
  local due = call('ZRANGEBYSCORE', held, '-inf', now, 'WITHSCORES', 'LIMIT', 0, CHUNK)
  local gone = {}
  for i = 1, #due, 2 do
    local e = read(due[i])
    gone[#gone + 1] = due[i]
    if e then
      e.place, e.flags = IN_LANE, has(e.flags, RETRY) and e.flags - RETRY or e.flags
      e.position = append(queue, e.priority, due[i + 1], e.id)
      write(e)
    end
  end
  spread(gone, 'ZREM', held)
end

-- === ends ===

local doomed = {}

-- Lets an envelope go, with `forget_doomed`: a derived id leaves a mark.
local function forget_later(e)
  doomed[#doomed + 1] = e.key
  if has(e.flags, KEPT) then doomed[#doomed + 1] = P .. 'k:' .. e.id end
  if is_derived(e.id) then call('SET', P .. 'm:' .. e.id, '', 'PX', WEEK) end
  if e.is_pinned then
    local at = e.task_at + e.task_length
    local digest = call('GETRANGE', e.key, at, at + 31)
    if call('HINCRBY', P .. 'pins', digest, -1) <= 0 then call('HDEL', P .. 'pins', digest) end
  end
end

local function forget_doomed()
  spread(doomed, 'UNLINK')
  doomed = {}
end

-- Takes an envelope from the dead letters.
local function exhume(e)
  call('ZREM', P .. 'dead', e.id)
  call('HDEL', P .. 'graves', e.id)
  if call('HINCRBY', P .. 'deaths', e.queue, -1) <= 0 then call('HDEL', P .. 'deaths', e.queue) end
end

local function died_at(e)
  return tonumber(e.position:match('^%d+'))
end

-- A dead letter that is still kept.
local function dead(id, now)
  local e = read(id)
  return e and e.place == DEAD and died_at(e) + WEEK > now and e or nil
end

-- === records ===

-- What is known of an envelope's record: nothing is revision 0.
local function record(id)
  local s = call('GETRANGE', P .. 'r:' .. id, 0, 12)
  if s == '' then return {revision = 0, generation = 0, delivery = 0, state = 0} end
  local revision, generation, delivery, state = unpack_bytes('>I4I4I4B', s)
  return {revision = revision, generation = generation, delivery = delivery, state = state}
end

-- The revision that a new record continues.
local function continues(body)
  return unpack_bytes('>I4', body) - 1
end

-- Whether a delivery may write no more: a later one is known, or its generation has ended; and whether its envelope is
-- with no worker.
local function standing(id, generation, delivery)
  local e = read(id)
  local r = record(id)
  local is_leased = e and leased_until(e) ~= nil
  local newest = math.max(e and e.deliveries or 0, r.delivery, tonumber(call('HGET', P .. 'k:' .. id, 'd') or 0))
  if is_leased then newest = math.max(newest, e.deliveries + 1) end
  local is_stale = newest > delivery or r.generation > generation or (r.generation == generation and r.state ~= 0)
  return {envelope = e, record = r, is_stale = is_stale, is_idle = e ~= nil and not is_leased}
end

-- Makes a delivery known: what an earlier one said of its progress counts no more.
local function fence(id, generation, delivery)
  local key = P .. 'k:' .. id
  local known = call('HMGET', key, 'd', 'g')
  if tonumber(known[1] or 0) < delivery then call('HDEL', key, 'p') end
  call('HSET', key, 'd', math.max(tonumber(known[1] or 0), delivery), 'g',
    math.max(tonumber(known[2] or 0), generation))
  call('PEXPIRE', key, MONTH)
end

local function set_flag(e, flag)
  if e and not has(e.flags, flag) then
    e.flags = e.flags + flag
    write(e)
  end
end

-- Adds to the sums of the hour: pairs of keys, apart and among the others, and thirteen numbers that belong together
-- (the ninth of them no whole number).
local SUMS = '>I8I8I8I8I8I8I8I8dI8I8I8I8'
local function add_usage(now, first)
  local hour = now - now % 3600000
  local key = P .. 'usage:' .. hour
  for i = first, #ARGV, 3 do
    local field = ARGV[i]
    if call('HEXISTS', key, field) == 0 then
      local others = call('HLEN', key)
      if others == 0 then
        call('ZADD', P .. 'hours', hour, hour)
        call('ZREMRANGEBYSCORE', P .. 'hours', '-inf', hour - 32 * 86400000)
      elseif others >= 1000 then
        field = ARGV[i + 1]
      end
    end
    local new = {unpack_bytes(SUMS, ARGV[i + 2])}
    local kept = call('HGET', key, field)
    if kept then
      local old = {unpack_bytes(SUMS, kept)}
      for j = 1, 13 do
        -- The tenth is a maximum; what a whole number cannot hold is not counted on.
        if j == 10 then
          new[j] = math.max(new[j], old[j])
        else
          new[j] = j == 9 and new[j] + old[j] or math.min(new[j] + old[j], 2 ^ 53)
        end
      end
    end
    call('HSET', key, field, pack_bytes(SUMS, unpack(new, 1, 13)))
    call('PEXPIREAT', key, hour + 31 * 86400000 + 3600000)
  end
end
