-- What the broker has of envelopes. Answers the time, and for each its envelope, until when and to whom it is leased,
-- and its record; nothing where there is none.

local answer = {time()}
for _, id in ipairs(ARGV) do
  local e = read(id)
  if e then
    local lease = lease_of(e) or {ends = 0, worker = ''}
    answer[#answer + 1] = {call('GET', e.key), lease.ends, lease.worker, call('GET', P .. 'r:' .. id) or ''}
  else
    answer[#answer + 1] = {}
  end
end
return answer
