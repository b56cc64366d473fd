-- Keeps the progress (p) or the checkpoint (c) of a delivery. Takes the envelope's id, its generation, the delivery,
-- which of the two, and the bytes. Answers 1 written, 0 stale.

local id, generation, delivery, field = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local it = standing(id, generation, delivery)
if it.is_idle or it.is_stale then return 0 end
fence(id, generation, delivery)
call('HSET', P .. 'k:' .. id, field, ARGV[5])
set_flag(it.envelope, KEPT)
if field == 'p' then tell({id}) end
return 1
