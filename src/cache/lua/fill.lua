-- Caches what the holder of a lease has loaded. A delete since has taken the lease away, and time
-- ends it: then what was loaded may be old, and is refused. So is what is older than a version that
-- is known, unless the primary has said it: the lease stays, if it does, and the caller asks there.
-- KEYS: the key, its lease, its version. ARGV: the holder's token, 'value', 'absent' or 'nothing'
-- (the load has failed), for how long in ms (of 'absent' 0: it is not remembered), the value, its
-- version in 20 digits or '', 'anywhere' or 'primary', how long a version is remembered in ms.
-- Answers -1 when what was loaded is behind, 1 when the caller held the lease, else 0.

local kind, version = ARGV[2], ARGV[5]
if kind ~= 'nothing' and ARGV[6] ~= 'primary' then
  local known = redis.call('GET', KEYS[3])
  -- Digits of one length: their order as texts is that of the numbers.
  if known and version < known then return -1 end
end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if kind == 'absent' and ARGV[3] ~= '0' then
  redis.call('SET', KEYS[2], 'absent', 'PX', ARGV[3])
else
  if kind == 'value' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3]) end
  redis.call('DEL', KEYS[2])
end
if version and version ~= '' then redis.call('SET', KEYS[3], version, 'PX', ARGV[7]) end
redis.call('PUBLISH', KEYS[2], '')
return 1
