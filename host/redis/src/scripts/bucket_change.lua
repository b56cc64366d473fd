-- Puts and removes, all or none. Takes the bucket, the delivery (id, generation, number), the quota (keys, bytes), the
-- version that the only key must have ('' any, '-' none), and for each change its key, 1 to put or 0, and the value.
-- Answers done; or lost, keys or bytes, and nothing has changed; or changed, and the version that is there.

if is_lost() then return {'lost'} end
local changes = {}
for i = 8, #ARGV, 3 do
  changes[#changes + 1] = {key = ARGV[i], value = ARGV[i + 1] == '1' and ARGV[i + 2] or nil}
end
if ARGV[7] ~= '' then
  local found = version_of(changes[1].key)
  if (found == '' and '-' or found) ~= ARGV[7] then return {'changed', found} end
end
return change_all(changes)
