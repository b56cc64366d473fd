-- When something next falls due or a lease may next end in these queues, after a time that was told already. Answers the
-- time that it is, and that time, if there is one.

local answer = {time()}
for i = 2, #ARGV do
  for _, key in ipairs({'due:', 'ends:'}) do
    local first = call('ZRANGEBYSCORE', P .. key .. ARGV[i], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if first[2] then answer[2] = math.min(answer[2] or math.huge, tonumber(first[2])) end
  end
end
return answer
