-- What single members of a hash, set or sorted set are like, without a look at the others.

-- The type of a key, apart for a hash in which one of the members has an expiry of its own: that is not looked at here.
local FIELDS_EXPIRE = (redis.REDIS_VERSION_NUM or 0) >= 0x00070400 or (redis.VALKEY_VERSION_NUM or 0) >= 0x00090000

local function typeWith(key, members)
  local kind = typeOf(key)
  if kind ~= 'hash' or not FIELDS_EXPIRE then return kind end
  for i = 1, #members do
    if redis.call('HPEXPIRETIME', key, 'FIELDS', 1, members[i])[1] > 0 then return 'hash of expiring fields' end
  end
  return kind
end

-- A member's part of the value with '+' in front, '' when it is not there: a field's value, a score as every version
-- writes it, nothing for a member of a set. Types without members have none.
local function cellOf(kind, key, member)
  local value = false
  if kind == 'hash' then
    value = redis.call('HGET', key, member)
  elseif kind == 'zset' then
    value = redis.call('ZSCORE', key, member)
    if value then value = string.format('%.17g', tonumber(value)) end
  elseif kind == 'set' then
    value = redis.call('SISMEMBER', key, member) == 1 and ''
  end
  return value and '+' .. value or ''
end

local function cellsOf(kind, key, members)
  local cells, size = {}, 0
  for i = 1, #members do
    cells[i] = cellOf(kind, key, members[i])
    size = size + #members[i] + #cells[i]
  end
  return cells, size
end

local function cellDigest(cell)
  return cell == '' and '' or redis.sha1hex(cell)
end
