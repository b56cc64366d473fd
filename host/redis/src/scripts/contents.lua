-- How many envelopes, dead letters, deployments and keys in buckets there are, and the size of the buckets.

local envelopes = call('HLEN', P .. 'leased')
for _, queue in ipairs(call('SMEMBERS', P .. 'queues')) do
  envelopes = envelopes + call('ZCARD', P .. 'due:' .. queue)
  local lanes = call('HGETALL', P .. 'lanes:' .. queue)
  for i = 1, #lanes, 2 do envelopes = envelopes + call('XLEN', lane_key(queue, lanes[i])) + lanes[i + 1] end
end
local keys, bytes = 0, 0
for _, fill in ipairs(call('HVALS', P .. 'buckets')) do
  local number, size = fill:match('(%d+) (%d+)')
  keys, bytes = keys + number, bytes + size
end
return {
  envelopes, call('ZCARD', P .. 'dead'), call('HLEN', P .. 'deployments'), call('HLEN', P .. 'buckets'), keys, bytes,
}
