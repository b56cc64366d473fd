-- What the broker has of envelopes, of as many as an answer holds. Takes what is wanted of each beside its head and names
-- (1 its bytes, 2 its record), and ids. Answers the time, and for each its envelope, until when and to whom it is leased,
-- and its record; nothing where there is none.

local BYTES, RECORD = 1, 2
local wanted = tonumber(ARGV[1])
local answer, size = {time()}, 0
for i = 2, #ARGV do
  local e = read(ARGV[i])
  if e then
    local lease = lease_of(e) or {ends = 0, worker = ''}
    local envelope = has(wanted, BYTES) and call('GET', e.key) or head_of(e)
    local record = has(wanted, RECORD) and call('GET', P .. 'r:' .. e.id) or ''
    answer[i] = {envelope, lease.ends, lease.worker, record}
    size = size + #envelope + #record
  else
    answer[i] = {}
  end
  if size >= FULL then break end
end
return answer
