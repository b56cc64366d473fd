-- The values of keys, each behind 16 bytes that say which it is. Takes the bucket, how many bytes may be given, and
-- the keys. Answers 0 where they are too many.

local key = P .. 'b:' .. ARGV[1]
local answer, bytes = {}, 0
for i = 3, #ARGV do bytes = bytes + math.max(call('HSTRLEN', key, ARGV[i]) - 16, 0) end
if bytes > tonumber(ARGV[2]) then return 0 end
for i = 3, #ARGV do answer[#answer + 1] = call('HGET', key, ARGV[i]) or '' end
return answer
