-- What single members of a hash, set or sorted set are like, without a look at the others.

-- How many elements (bytes of a string) a key has; -1 where that says little: of large values,
-- which may well differ elsewhere by what is still on its way here, and of types that are not
-- known.
local function countOf(kind, key)
  if kind == 'none' then return 0 end
  if kind == 'string' then
    local bytes = redis.call('STRLEN', key)
    return bytes <= LARGE_BYTES and bytes or -1
  end
  local count = CARDINALITY[kind] and redis.call(CARDINALITY[kind], key) or -1
  return count <= LARGE_ELEMENTS and count or -1
end

-- So many arguments fit into one command: Lua's stack is bounded.
local ARGUMENTS_PER_COMMAND = 1000

local ASK = { hash = 'HMGET', set = 'SMISMEMBER', zset = 'ZMSCORE' }

-- A member's part of the value with '+' in front, '' when it is not there: a field's value, a score
-- as every version writes it, nothing for a member of a set. Types without members have none.
local function cellFrom(kind, answer)
  if not answer or answer == 0 then return '' end
  if kind == 'set' then return '+' end
  -- + 0: not every version tells -0 from 0.
  return '+' .. (kind == 'zset' and string.format('%.17g', tonumber(answer) + 0) or answer)
end

-- In front of the '+' of a field that expires: when, digits, ms since the epoch.
local function addFieldExpiries(key, members, cells, first, last)
  local expiries = redis.call('HPEXPIRETIME', key, 'FIELDS', last - first + 1, unpack(members, first, last))
  for i = first, last do
    local expiry = expiries[i - first + 1]
    if expiry >= 0 then cells[i] = digits(expiry) .. cells[i] end
  end
end

-- The cells of members, and the bytes gone through.
local function cellsOf(kind, key, members)
  local cells, size = {}, 0
  for first = 1, #members, ARGUMENTS_PER_COMMAND do
    local last = math.min(first + ARGUMENTS_PER_COMMAND - 1, #members)
    local answers = ASK[kind] and redis.call(ASK[kind], key, unpack(members, first, last)) or {}
    for i = first, last do
      cells[i] = cellFrom(kind, answers[i - first + 1])
      size = size + #members[i] + #cells[i]
    end
    if kind == 'hash' and HAS_FIELD_EXPIRY then addFieldExpiries(key, members, cells, first, last) end
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
