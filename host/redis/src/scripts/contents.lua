-- How many envelopes, dead letters, deployments and keys in buckets there are, and the size of the buckets.

local envelopes = call('HLEN', P .. 'leased')
for _, queue in ipairs(call('SMEMBERS', P .. 'queues')) do
  envelopes = envelopes + call('ZCARD', P .. 'due:' .. queue) + waiting_in(queue)
end
local keys, bytes = 0, 0
for _, fill in ipairs(call('HVALS', P .. 'buckets')) do
  local number, size = fill:match('(%d+) (%d+)')
  keys, bytes = keys + number, bytes + size
end
return {
  envelopes, call('ZCARD', P .. 'dead'), call('HLEN', P .. 'deployments'), call('HLEN', P .. 'buckets'), keys, bytes,
}
