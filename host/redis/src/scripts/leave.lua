-- Says that a worker has stopped in order. Takes its name.

call('HDEL', P .. 'workers', ARGV[1])
return 1
