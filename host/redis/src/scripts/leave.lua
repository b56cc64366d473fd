-- Says that a worker has stopped in order: its consumers go, where nothing is pending for them.

local worker = ARGV[1]
call('HDEL', P .. 'workers', worker)
for _, queue in ipairs(call('SMEMBERS', P .. 'queues')) do
  for _, priority in ipairs(call('HKEYS', P .. 'lanes:' .. queue)) do
    local lane = P .. 'lane:' .. priority .. ':' .. queue
    if #call('XPENDING', lane, GROUP, '-', '+', 1, worker) == 0 then
      call('XGROUP', 'DELCONSUMER', lane, GROUP, worker)
    end
  end
end
return 1
