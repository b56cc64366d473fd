-- Changes deployments as somebody decided who saw this revision. Takes the revision, and changes of three arguments:
-- put a version, drop a version, newest number of a name, keep a module, lose a module, idle (nothing may be pinned to
-- the module). Answers 1, or 0 where something has changed since and nothing is done.

if tonumber(call('GET', P .. 'revision') or 0) ~= tonumber(ARGV[1]) then return 0 end
for i = 2, #ARGV, 3 do
  if ARGV[i] == 'idle' and call('HEXISTS', P .. 'pins', ARGV[i + 1]) == 1 then return 0 end
end
local change = {
  put = function(field, value) call('HSET', P .. 'deployments', field, value) end,
  drop = function(field) call('HDEL', P .. 'deployments', field) end,
  newest = function(name, version) call('HSET', P .. 'newest', name, version) end,
  keep = function(digest, bytes) call('SET', P .. 'module:' .. digest, bytes) end,
  lose = function(digest) call('UNLINK', P .. 'module:' .. digest) end,
  idle = function() end,
}
for i = 2, #ARGV, 3 do change[ARGV[i]](ARGV[i + 1], ARGV[i + 2]) end
-- The first one is a time: a server that comes back empty does not count through what workers have seen before.
if not call('SET', P .. 'revision', string.format('%.0f', time()), 'NX') then call('INCR', P .. 'revision') end
return 1
