-- Dead letters by id: for each its envelope and its grave, or nothing; and where it stands in the list.

local now = time()
local answer = {}
for _, id in ipairs(ARGV) do
  local e = dead(id, now)
  answer[#answer + 1] = e and {
    call('GET', P .. 'e:' .. id), call('HGET', P .. 'graves', id), call('ZSCORE', P .. 'dead', id),
  } or {}
end
return answer
