-- Removes at most so many keys, the oldest first. Takes the bucket and the number; answers how many went.

local oldest = call('ZRANGE', order, 0, tonumber(ARGV[2]) - 1)
local keys, bytes = fill()
for _, key in ipairs(oldest) do
  keys, bytes = length_after({key = key}, keys, bytes)
  put({key = key})
end
if #oldest > 0 then set_fill(keys, bytes) end
return #oldest
