-- What is recorded of envelopes: for each the record, the generation that runs, and its progress.

local answer = {}
for _, id in ipairs(ARGV) do
  local kept = call('HMGET', P .. 'k:' .. id, 'g', 'p')
  local is_ended = call('GETRANGE', P .. 'e:' .. id, 0, 0) == '\0'
  local record = call('GET', record_key(id, not is_ended))
  answer[#answer + 1] = {record or '', kept[1] or '0', kept[2] or ''}
end
return answer
