-- Dead letters by id, as many as an answer holds: for each its envelope and its grave, or nothing.

local now = time()
local answer, size = {}, 0
for _, id in ipairs(ARGV) do
  local e = dead(id, now)
  local letter = e and {call('GET', e.key), call('HGET', P .. 'graves', id)} or {}
  answer[#answer + 1] = letter
  if e then size = size + #letter[1] + #letter[2] end
  if size >= FULL then break end
end
return answer
