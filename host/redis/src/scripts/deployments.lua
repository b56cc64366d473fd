-- The time, the revision of the deployments, every version, the newest number of each name, and the modules that
-- envelopes are pinned to.

return {
  time(), tonumber(call('GET', P .. 'revision') or 0), call('HGETALL', P .. 'deployments'),
  call('HGETALL', P .. 'newest'), call('HKEYS', P .. 'pins'),
}
