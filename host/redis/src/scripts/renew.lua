-- Prolongs leases from now on. Takes the lease's length, then the leases. Answers for each 0 lost, 1 held, 2 asked to
-- stop, 3 to be ended at once.

local ends = time() + tonumber(ARGV[1])
local answers = {}

local function renew(receipt)
  local e = read(receipt:sub(1, 16))
  local lease = e and lease_of(e)
  if not lease or lease.delivery ~= unpack_bytes('>I4', receipt, 17) then return 0 end
  -- Where a lease ends later than the index says, whoever looks then will see; it must not end earlier.
  if ends < lease.ends then index_leases(e.queue, ends, {e.id}) end
  lease.ends = ends
  change_lease(e, lease)
  if has(e.flags, NOW) then return 3 end
  return has(e.flags, ASK) and 2 or 1
end

for i = 2, #ARGV do answers[#answers + 1] = renew(ARGV[i]) end
return table.concat(answers)
