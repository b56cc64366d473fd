-- The versions of the values of keys. Takes the bucket and the keys.

local answer = {}
for i = 2, #ARGV do answer[#answer + 1] = (call('HGET', P .. 'b:' .. ARGV[1], ARGV[i]) or ''):sub(1, 8) end
return answer
