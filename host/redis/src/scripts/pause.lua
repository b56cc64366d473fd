-- Pauses (1) or resumes (0) a queue.

if ARGV[2] == '1' then
  call('SADD', P .. 'paused', ARGV[1])
else
  call('SREM', P .. 'paused', ARGV[1])
  ring({[ARGV[1]] = true})
end
return 1
