-- What the scripts that write to a bucket share. A bucket is a hash of keys, each with the version of its value, its
-- place in the order in which keys came, and the value; a sorted set of places; and its fill in `buckets`.

local bucket = ARGV[1]
local values, order = P .. 'b:' .. bucket, P .. 'o:' .. bucket

local function fill()
  local keys, bytes = (call('HGET', P .. 'buckets', bucket) or '0 0'):match('(%d+) (%d+)')
  return tonumber(keys), tonumber(bytes)
end

local function set_fill(keys, bytes)
  if keys == 0 then
    call('HDEL', P .. 'buckets', bucket)
  else
    call('HSET', P .. 'buckets', bucket, string.format('%.0f %.0f', keys, bytes))
  end
end

local function version_of(key)
  local stored = call('HGET', values, key)
  return stored and string.format('%.0f', unpack_bytes('>I8', stored)) or ''
end

-- Whether the delivery of these arguments may write no more.
local function is_lost()
  local it = standing(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
  return it.is_idle or it.is_stale
end

local function length_after(change, keys, bytes)
  local old = call('HSTRLEN', values, change.key)
  if old > 0 then keys, bytes = keys - 1, bytes - (old - 16) - #change.key end
  if change.value then keys, bytes = keys + 1, bytes + #change.value + #change.key end
  return keys, bytes
end

local function put(change)
  if not change.value then
    call('HDEL', values, change.key)
    call('ZREM', order, change.key)
    return
  end
  local number = call('INCR', P .. 'seq')
  local place = call('ZSCORE', order, change.key)
  if not place then call('ZADD', order, number, change.key) end
  call('HSET', values, change.key, pack_bytes('>I8I8', number, tonumber(place or number)) .. change.value)
end

-- Makes changes where the bucket has room for all of them; a write that makes nothing larger is never refused.
local function change_all(changes)
  local keys, bytes = fill()
  local keys_after, bytes_after = keys, bytes
  for _, change in ipairs(changes) do keys_after, bytes_after = length_after(change, keys_after, bytes_after) end
  if keys_after > tonumber(ARGV[5]) and keys_after > keys then return {'keys'} end
  if bytes_after > tonumber(ARGV[6]) and bytes_after > bytes then return {'bytes'} end
  for _, change in ipairs(changes) do put(change) end
  set_fill(keys_after, bytes_after)
  return {'done'}
end
