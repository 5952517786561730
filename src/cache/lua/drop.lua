-- Deletes a key and takes the lease of whoever loads it away. Who waits for them asks anew.
-- KEYS: the key, its lease, its version. ARGV: the version that was written, in 20 digits, or '';
-- how long it is remembered in ms.

redis.call('UNLINK', KEYS[1], KEYS[2])
if ARGV[1] ~= '' then
  local known = redis.call('GET', KEYS[3])
  -- Deletes of two writes can come in the other order.
  if known and known > ARGV[1] then redis.call('PEXPIRE', KEYS[3], ARGV[2])
  else redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2]) end
end
redis.call('PUBLISH', KEYS[2], '')
return 1
