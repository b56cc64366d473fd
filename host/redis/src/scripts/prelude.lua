-- What all scripts share: the names of keys, the head of an envelope, lanes, leases and fences.
-- KEYS[1] is the namespace's prefix with its hash tag: every other key begins with it, so all lie in one slot.
-- Nobody ever writes a key of that very name: a node of a cluster that is giving the slot away runs no script whose key it
-- lacks, and one that is taking it over runs none for us. So none runs where only a part of the namespace lies.

local P = KEYS[1]
local CHUNK = 1000
-- An answer is full when it has so many bytes: who wants more asks again.
local FULL = 4194304
local WEEK, MONTH = 604800000, 2592000000
-- Nothing is put off for longer than a hundred years: times stay numbers that a script can count with.
local LONGEST = 3155760000000
-- Where an envelope is. A record that lies in its place begins with 0: no revision is ever that high.
local IN_LANE, HELD, DEAD = 1, 2, 3
local RECORDED, KEPT, RETRY, ASK, NOW = 1, 2, 4, 8, 16

local call, pack_bytes, unpack_bytes = redis.call, struct.pack, struct.unpack

local function time()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Calls a command with a list of arguments of any length, behind a key where there is one, and adds its answers up.
local function spread(list, command, key)
  local sum = 0
  for i = 1, #list, CHUNK do
    local last = math.min(i + CHUNK - 1, #list)
    sum = sum + (key and call(command, key, unpack(list, i, last)) or call(command, unpack(list, i, last)))
  end
  return sum
end

local times = {}

-- A time so many milliseconds from now, as text: what is given as a time needs no conversion for the log.
local function after(now, ttl)
  times[ttl] = times[ttl] or string.format('%.0f', now + ttl)
  return times[ttl]
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

-- The ids that stand one behind the other, from a byte on.
local ID = 16
local function ids_in(text, from)
  local ids = {}
  for i = from, #text, ID do ids[#ids + 1] = text:sub(i, i + ID - 1) end
  return ids
end

local function ring(queues)
  for queue in pairs(queues) do call('PUBLISH', P .. 'work', queue) end
end

-- Tells those who look at these envelopes that there is something to see; where they are many, everybody.
local MOST_TOLD = 256
local function tell(ids)
  if #ids > 0 then call('PUBLISH', P .. 'records', #ids <= MOST_TOLD and table.concat(ids) or '') end
end

-- === envelopes ===

-- What an envelope is but for its bytes; nothing where there is none, or where only its record is left.
-- Numbers that the server would have to write out are given as text.
local function read(id)
  local key = P .. 'e:' .. id
  -- The names have at most 128 bytes each, and a digest 32.
  local s = call('GETRANGE', key, '0', '351')
  if s == '' or s:byte(1) == 0 then return nil end
  local place, flags, priority, _, generation, attempts, deliveries, losses, snoozes, faults, length =
    unpack_bytes('>BBBBI4I4I4I4I4I4B', s)
  local queue, task, digest = s:byte(62, 64)
  -- One constructor with all fields: a table that grows is built anew each time.
  return {
    id = id, key = key, place = place, flags = flags, priority = priority, generation = generation,
    attempts = attempts, deliveries = deliveries, losses = losses, snoozes = snoozes, faults = faults,
    position = s:sub(30, 29 + length), queue = s:sub(65, 64 + queue), task_at = 64 + queue, task_length = task,
    digest = s:sub(65 + queue + task, 64 + queue + task + digest), delivery = 0,
  }
end

-- Its head and its names, as they are kept.
local function head_of(e)
  return call('GETRANGE', e.key, 0, e.task_at + e.task_length + #e.digest - 1)
end

-- Writes what changes during its life; the rest stays as it was published.
local function write(e)
  local head = pack_bytes('>BBBBI4I4I4I4I4I4B', e.place, e.flags, e.priority, 0, e.generation, e.attempts,
    e.deliveries, e.losses, e.snoozes, e.faults, #e.position)
  call('SETRANGE', e.key, 0, head .. e.position)
end

-- === leases ===

-- A lease says which delivery it is, until when, whether the envelope is PLAIN, whose it is, and the queue. A plain one
-- has no flags and no pin, as almost all have: its end needs no look at it. It is longer than what Redis keeps in a list
-- that every look-up walks through.
local LEASE, LEASE_LENGTH = '>I4I8BBB', 72
local PLAIN = 1

local function pack_lease(delivery, ends, plain, worker, queue)
  local lease = pack_bytes(LEASE, delivery, ends, plain, #worker, #queue) .. worker .. queue
  return lease .. string.rep('\0', LEASE_LENGTH - #lease)
end

local function unpack_lease(kept)
  local delivery, ends, plain, worker, queue = unpack_bytes(LEASE, kept)
  return {
    delivery = delivery, ends = ends, plain = plain, worker = kept:sub(16, 15 + worker),
    queue = kept:sub(16 + worker, 15 + worker + queue),
  }
end

-- The lease of an envelope; nothing where it is with no worker. Deliveries are counted when they end: the one that runs
-- has the next number.
local function lease_of(e)
  if e.place ~= IN_LANE then return nil end
  local kept = call('HGET', P .. 'leased', e.id)
  local lease = kept and unpack_lease(kept)
  return lease and lease.delivery == e.deliveries + 1 and lease or nil
end

-- Writes leases, pairs of an id and a lease, and counts those that are new.
local function put_leases(queue, pairs_of_leases)
  local added = spread(pairs_of_leases, 'HSET', P .. 'leased')
  if added > 0 then call('HINCRBY', P .. 'running', queue, added) end
end

local function change_lease(e, lease)
  local packed = pack_lease(lease.delivery, lease.ends, lease.plain, lease.worker, lease.queue)
  call('HSET', P .. 'leased', e.id, packed)
end

local function remove_leases(queue, ids)
  local removed = spread(ids, 'HDEL', P .. 'leased')
  local left = removed > 0 and call('HINCRBY', P .. 'running', queue, -removed)
  if left and left <= 0 then
    call('HDEL', P .. 'running', queue)
    call('UNLINK', P .. 'ends:' .. queue)
  end
end

-- Writes an envelope whose flags have changed, and which may be with a worker.
local function write_marked(e)
  write(e)
  local lease = lease_of(e)
  if lease and lease.plain == PLAIN then
    lease.plain = 0
    change_lease(e, lease)
  end
end

-- Makes a note of when the leases of these envelopes end. What was claimed together is one entry of the index: it says
-- where to look, and the leases say what is so. Answers the entries, pairs of a time and ids.
local BATCH = 64
local function index_leases(queue, ends, ids)
  local arguments = {}
  for i = 1, #ids, BATCH do
    arguments[#arguments + 1] = ends
    arguments[#arguments + 1] = table.concat(ids, '', i, math.min(i + BATCH - 1, #ids))
  end
  spread(arguments, 'ZADD', P .. 'ends:' .. queue)
  return arguments
end

-- Ends leases. What was claimed together and ends together leaves the index with it; the rest leaves it in its time.
local function end_leases(queue, ids)
  remove_leases(queue, ids)
  if #ids <= BATCH then call('ZREM', P .. 'ends:' .. queue, table.concat(ids)) end
end

-- === ends ===

local doomed = {}

-- Lets go of an envelope that nothing belongs to, with `forget_doomed`: a record takes its place where there is one
-- ('' is none), and a derived id leaves a mark.
local function let_go(id, key, record, until_when)
  if record ~= '' then
    call('SET', key, record, 'PXAT', until_when)
  else
    doomed[#doomed + 1] = key
  end
  if is_derived(id) then call('SET', P .. 'm:' .. id, '', 'PX', WEEK) end
end

-- Lets go of any envelope, with `forget_doomed`. Without a new record the one that is kept takes its place.
local function forget_later(e, record, until_when)
  local kept = P .. 'r:' .. e.id
  let_go(e.id, e.key, record, until_when)
  if has(e.flags, RECORDED) then
    if record == '' and call('EXISTS', kept) == 1 then
      call('RENAME', kept, e.key)
      doomed[#doomed] = nil
    else
      doomed[#doomed + 1] = kept
    end
  end
  if has(e.flags, KEPT) then doomed[#doomed + 1] = P .. 'k:' .. e.id end
  if e.digest ~= '' and call('HINCRBY', P .. 'pins', e.digest, -1) <= 0 then
    call('HDEL', P .. 'pins', e.digest)
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
