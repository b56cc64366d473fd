-- How many envelopes, dead letters, deployments and keys in buckets there are, and the size of the buckets.

local envelopes = 0
for _, queue in ipairs(call('SMEMBERS', P .. 'queues')) do
  envelopes = envelopes + call('ZCARD', P .. 'due:' .. queue)
  for _, priority in ipairs(call('HKEYS', P .. 'lanes:' .. queue)) do
    envelopes = envelopes + call('XLEN', P .. 'lane:' .. priority .. ':' .. queue)
  end
end
local keys, bytes = 0, 0
for _, fill in ipairs(call('HVALS', P .. 'buckets')) do
  local number, size = fill:match('(%d+) (%d+)')
  keys, bytes = keys + number, bytes + size
end
return {
  envelopes, call('ZCARD', P .. 'dead'), call('HLEN', P .. 'deployments'), call('HLEN', P .. 'buckets'), keys, bytes,
}
