-- Caches what the holder of a lease has loaded. A delete since has taken the lease away, and time
-- ends it: then what was loaded may be old, and is refused.
-- KEYS: the key, its lease. ARGV: the holder's token, 'value', 'absent' or 'nothing' (the load has
-- failed), for how long in ms, the value.
-- Answers 1 when the caller held the lease, else 0.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[2] == 'absent' then
  redis.call('SET', KEYS[2], 'absent', 'PX', ARGV[3])
else
  if ARGV[2] == 'value' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3]) end
  redis.call('DEL', KEYS[2])
end
redis.call('PUBLISH', KEYS[2], '')
return 1
