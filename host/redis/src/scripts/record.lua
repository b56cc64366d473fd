-- What scripts share that read or write records: who may write one, and the sums of what attempts used.

-- Where the record of an envelope is kept: in its place, or beside it while it lives or is a dead letter.
local function record_key(id, e)
  return P .. (e and 'r:' or 'e:') .. id
end

-- What is known of an envelope's record: nothing is revision 0.
local function record(id, e)
  local s = call('GETRANGE', record_key(id, e), 0, 12)
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
  local r = record(id, e)
  local is_leased = e and lease_of(e) ~= nil
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
    write_marked(e)
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
