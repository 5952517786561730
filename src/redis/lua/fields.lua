-- Fields of a hash that expire by themselves: Redis 7.4 and Valkey 9 know them. Valkey calls itself
-- a Redis 7.2 as well.

local FIELDS_PER_CALL = 1000
local HAS_FIELD_EXPIRY = (redis.REDIS_VERSION_NUM or 0) >= 0x00070400
  or (redis.VALKEY_VERSION_NUM or 0) >= 0x00090000

-- An error that the caller can tell from those of Redis; the words behind the code are for its log.
local function requireFieldExpiry()
  if not HAS_FIELD_EXPIRY then error({ err = 'NOFIELDEXPIRY this server has no HPEXPIREAT' }) end
end
