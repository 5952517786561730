-- What single members of a hash, set or sorted set are like, without a look at the others.

-- When a field expires: digits, ms since the epoch; '' for one that does not.
local function fieldExpiry(key, field)
  if not HAS_FIELD_EXPIRY then return '' end
  local expiry = redis.call('HPEXPIRETIME', key, 'FIELDS', 1, field)[1]
  return expiry >= 0 and string.format('%.0f', expiry) or ''
end

-- A member's part of the value with '+' in front, '' when it is not there: a field's value, a score as every version
-- writes it, nothing for a member of a set. Types without members have none. In front of the '+' of a field that expires: when.
local function cellOf(kind, key, member)
  local value = false
  if kind == 'hash' then
    value = redis.call('HGET', key, member)
    if value then return fieldExpiry(key, member) .. '+' .. value end
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

-- The parts of a cell that is not empty: digits or '', and the value.
local function partsOf(cell)
  local plus = string.find(cell, '+', 1, true)
  return string.sub(cell, 1, plus - 1), string.sub(cell, plus + 1)
end

-- The expiry stays readable, because a little difference of it may be tolerated.
local function cellDigest(cell)
  if cell == '' then return '' end
  local expiry, value = partsOf(cell)
  return expiry .. '+' .. redis.sha1hex(value)
end
