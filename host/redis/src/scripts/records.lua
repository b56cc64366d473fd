-- What is recorded of envelopes: for each the record, the generation that runs, and its progress.

local answer = {}
for _, id in ipairs(ARGV) do
  local kept = call('HMGET', P .. 'k:' .. id, 'g', 'p')
  answer[#answer + 1] = {call('GET', P .. 'r:' .. id) or '', kept[1] or '0', kept[2] or ''}
end
return answer
