-- What single members of a hash, set or sorted set are like, without a look at the others.

local ASK = { hash = 'HMGET', set = 'SMISMEMBER', zset = 'ZMSCORE' }

-- How many elements (bytes of a string) a key has; below 0 where it is large: its others may well
-- differ by what is still on its way here. -1 of types that are not known.
local function countOf(kind, key)
  if kind == 'none' then return 0 end
  local ask = kind == 'string' and 'STRLEN' or CARDINALITY[kind]
  if not ask then return -1 end
  local count = redis.call(ask, key)
  return count <= (kind == 'string' and LARGE_BYTES or LARGE_ELEMENTS) and count or -count
end

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

-- A value this small may lie in one piece, whatever the server's settings.
local SMALL_PIECE = 600
-- To step over an element of such a piece.
local STEP_WORK = 1.5

-- The encoding of a value in one piece, and its members; nil, 0 where there is none to mind; and
-- the work of finding out.
local function pieceOf(kind, key)
  if not ASK[kind] then return nil, 0, 0 end
  local count = redis.call(CARDINALITY[kind], key)
  if count <= SMALL_PIECE then return nil, 0, 0 end
  local encoding, work = encodingOf(key, kind, count)
  if IN_ONE_PIECE[encoding] then return encoding, count, work end
  return nil, 0, work
end

-- To look up one member, the server steps over the others, but for integers. And the work of
-- finding out.
local WORDS = { hash = 2, set = 1, zset = 2 }
local function lookUpWork(kind, key)
  local encoding, members, work = pieceOf(kind, key)
  if not encoding or encoding == 'intset' then return ELEMENT_WORK, work end
  local words = encoding == 'listpackex' and 3 or WORDS[kind]
  local times = kind == 'hash' and HAS_FIELD_EXPIRY and 2 or 1
  return ELEMENT_WORK + STEP_WORK * words * members * times, work
end

-- What members may cost of one key and call, about 4 ms: a repair looks them up as well, and writes
-- them.
local MEMBERS_WORK = 393216
-- Values are asked for in steps that grow no further than so, for large ones show only then: 8 MiB
-- take 11 ms.
local LONGEST_STEP = { hash = 8, set = 200, zset = 200 }

-- The cells of the first members, up to where they cost too much together, or of all when no limit
-- of work is given; and the work. There always is a first one.
local function cellsOf(kind, key, members, limit)
  local cells, work, step = {}, 0, 1
  local lookUp, before = lookUpWork(kind, key)
  while #cells < #members and (not limit or #cells == 0 or work < limit) do
    local first, last = #cells + 1, math.min(#cells + step, #members)
    local answers = ASK[kind] and redis.call(ASK[kind], key, unpack(members, first, last)) or {}
    for i = first, last do
      -- No digest is made of what came with it and is too much.
      if limit and i > 1 and work >= limit then break end
      cells[i] = cellFrom(kind, answers[i - first + 1])
      work = work + lookUp + #members[i] + #cells[i]
    end
    if kind == 'hash' and HAS_FIELD_EXPIRY then addFieldExpiries(key, members, cells, first, #cells) end
    local fitting = limit and math.floor((limit - work) * #cells / work) or LONGEST_STEP.set
    step = math.max(1, math.min(4 * step, LONGEST_STEP[kind] or LONGEST_STEP.set, fitting))
  end
  return cells, spend(before + work)
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
