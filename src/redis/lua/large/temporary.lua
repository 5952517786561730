-- A temporary key grows step by step. Each step says how many elements or entries the key must have
-- by then: one that has expired, was evicted or has missed a step is not grown any further.

local function temporarySize(key)
  local kind = typeOf(key)
  if kind == 'list' then return redis.call('LLEN', key) end
  if kind == 'stream' then return redis.call('XLEN', key) end
  return 0
end
