-- What is recorded of envelopes, of as many as an answer holds: for each the record, the generation that runs, and its
-- progress.

local answer, size = {}, 0
for _, id in ipairs(ARGV) do
  local kept = call('HMGET', P .. 'k:' .. id, 'g', 'p')
  local is_ended = call('GETRANGE', P .. 'e:' .. id, 0, 0) == '\0'
  local record = call('GET', record_key(id, not is_ended)) or ''
  answer[#answer + 1] = {record, kept[1] or '0', kept[2] or ''}
  size = size + #record
  if size >= FULL then break end
end
return answer
