-- Sends a command to whoever listens, under the server's time: one that comes back with less, or with nothing, is still
-- heard. Takes the command's lifetime and the command.

local key, now, lifetime = P .. 'commands', time(), tonumber(ARGV[1])
call('XADD', key, '*', 't', now, 'c', ARGV[2])
for _, entry in ipairs(call('XRANGE', key, '-', '+', 'COUNT', 100)) do
  if now - entry[2][2] < lifetime then break end
  call('XDEL', key, entry[1])
end
call('PEXPIRE', key, lifetime)
call('PUBLISH', key, '')
return 1
