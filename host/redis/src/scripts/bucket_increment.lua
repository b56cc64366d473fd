-- Adds to a whole number. Takes the bucket, the delivery (id, generation, number), the quota (keys, bytes), the key and
-- what is added. Answers done and the sum; or lost, keys, bytes, number or overflow, and nothing has changed.

if is_lost() then return {'lost'} end
local key, delta = ARGV[7], ARGV[8]
local stored = call('HGET', values, key)
local sign, digits = '', '0'
if stored then sign, digits = stored:sub(17):match('^([+-]?)0*(%d+)$') end
if not digits then return {'number'} end

-- The server counts with 64 bits, where Lua's numbers have 53.
local counter = P .. 'counter'
local number = sign == '-' and digits ~= '0' and '-' .. digits or digits
call('SET', counter, number)
local is_number = type(redis.pcall('INCRBY', counter, 0)) ~= 'table'
local is_counted = is_number and type(redis.pcall('INCRBY', counter, delta)) ~= 'table'
local sum = call('GET', counter)
call('DEL', counter)
if not is_number then return {'number'} end
if not is_counted then return {'overflow'} end
local answer = change_all({{key = key, value = sum}})
answer[2] = sum
return answer
