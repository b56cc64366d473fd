-- Says that a worker lives. Takes its name and its heartbeat. Answers whether nothing was known of it.

return call('HSET', P .. 'workers', ARGV[1], pack_bytes('>I8', time()) .. ARGV[2])
