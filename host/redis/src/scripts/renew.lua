-- Prolongs leases from now on. Takes the lease's length, then the leases. Answers for each 0 lost, 1 held, 2 asked to
-- stop, 3 to be ended at once.

local ends = time() + tonumber(ARGV[1])
local answers = {}

local function renew(lease)
  local e = read(lease:sub(1, 16))
  local key = e and P .. 'leased:' .. e.queue
  if not e or e.place ~= IN_LANE or not call('ZSCORE', key, lease) then return 0 end
  call('ZADD', key, 'XX', ends, lease)
  if has(e.flags, NOW) then return 3 end
  return has(e.flags, ASK) and 2 or 1
end

for i = 2, #ARGV do answers[#answers + 1] = renew(ARGV[i]) end
return table.concat(answers)
