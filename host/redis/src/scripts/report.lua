-- Adds reports to their records, all of them or, where one cannot be added as it was sent, none. Takes their number,
-- and for each the envelope's id, its record and how long that is kept. Then the sums of what attempts used.
-- Answers 1 where all is done; else for each 1 as it should be, 0 stale, or the record that it continues.

local FIELDS = 3
local FAILED = 2
local number = tonumber(ARGV[1])
local now = time()

local standings, answers, is_as_sent = {}, {}, true
for n = 1, number do
  local i = 2 + (n - 1) * FIELDS
  local id, body = ARGV[i], ARGV[i + 1]
  local _, generation, delivery = unpack_bytes('>I4I4I4', body)
  local it = standing(id, generation, delivery)
  standings[n], answers[n] = it, 1
  if it.is_stale then
    answers[n] = 0
  elseif it.record.revision ~= continues(body) then
    answers[n] = call('GET', record_key(id, it.envelope)) or ''
  end
  if answers[n] ~= 1 then is_as_sent = false end
end
if not is_as_sent then return answers end

local ids = {}
for n = 1, number do
  local i = 2 + (n - 1) * FIELDS
  local id, body, ttl, key = ARGV[i], ARGV[i + 1], ARGV[i + 2], P .. 'k:' .. ARGV[i]
  local state = unpack_bytes('>B', body, 13)
  call('SET', record_key(id, standings[n].envelope), body, 'PX', ttl)
  set_flag(standings[n].envelope, RECORDED)
  if state == 0 then
    call('PEXPIRE', key, ttl, 'GT')
  elseif state == FAILED then
    -- Only a replay can go on from a checkpoint.
    call('HDEL', key, 'p')
    call('PEXPIRE', key, WEEK)
  else
    call('UNLINK', key)
  end
  ids[n] = id
end
add_usage(now, 2 + number * FIELDS)
tell(ids)
return 1
