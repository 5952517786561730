-- Deletes a key and takes the lease of whoever loads it away. Who waits for them asks anew.
-- KEYS: the key, its lease.

redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('PUBLISH', KEYS[2], '')
return 1
