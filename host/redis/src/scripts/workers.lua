-- The time, and every worker's name and heartbeat behind the time at which it came.

return {time(), call('HGETALL', P .. 'workers')}
