-- fingerprint(key): what identifies a key's type and content, as cheaply as it can be had. Stands
-- behind content.lua.

-- A value that takes no more memory is its own fingerprint: its DUMP, whose first byte is below 32.
-- No more elements than the limit fit into it either: the shortest takes two bytes.
local SMALL_BYTES = math.min(2048, LARGE_BYTES, 2 * LARGE_ELEMENTS)

-- By the first byte of its DUMP, the type as RDB numbers them. Others may hold fields that expire,
-- or write the same value in many ways (those of modules).
local LAST_PLAIN, MODULES = 21, { [6] = true, [7] = true }
local function isPlain(dump)
  local number = string.byte(dump)
  return number <= LAST_PLAIN and not MODULES[number]
end

-- Bytes in memory, false without key; nil where the server does not say. That the key is not here
-- (Cluster), a command says that is asked for more than that.
local function memoryOf(key)
  if not tellsMemory then return end
  local bytes = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', ARGV[1])
  if type(bytes) ~= 'table' then return bytes end
end

-- MEMORY USAGE of so many elements as is asked for: 60 ns each, where a unit of work is 5 ns. A
-- small value pays by its DUMP, in which it is the lesser part.
local SAMPLING_WORK = 12 * LARGE_ELEMENTS

-- Not for strings. Answers with the bytes in memory as well, as far as they are known, and how many
-- elements there are where they were counted.
local function isLarge(key, kind, bytes)
  if not CARDINALITY[kind] then
    bytes = bytes or memoryOf(key) or 0
    return bytes > LARGE_BYTES, bytes
  end
  -- Exact up to the limit of elements: a single huge one counts.
  bytes = bytes or bytesOf(key, kind, ARGV[1])
  if bytes > LARGE_BYTES then
    spend(SAMPLING_WORK)
    return true, bytes
  end
  local count = elementsOf(key, kind)
  if count > LARGE_ELEMENTS then spend(SAMPLING_WORK) end
  return count > LARGE_ELEMENTS or isHardToRead(key, kind, count), bytes, count
end

-- Of a DUMP of a type that is not known, whose content can't be compared otherwise: without the
-- version and the checksum at its end, so that other versions of Redis say the same of it.
local function unversioned(dump)
  return server.sha1hex(string.sub(dump, 1, -11))
end

-- The digest of every large value. It proves nothing.
local LARGE = 'large'

-- The DUMP of the key that `fingerprint` was asked of last, if one was made.
local dumped

-- Fingerprint and work of a key, and its type but for a small one's; '', 0, 'none' without key;
-- LARGE, 0 and the type of a large one. Other equal ones prove equal type and content. Different
-- ones prove nothing, but for what `provesDifference` says. They are
--   of a small value its DUMP,
--   of a string a digest of its value,
--   of all others a digest of the DUMP, with how many elements there are where that is known.
local function fingerprint(key)
  dumped = nil
  local bytes = memoryOf(key)
  if bytes == false then return '', 0, 'none' end
  if bytes and bytes <= SMALL_BYTES then
    dumped = redis.call('DUMP', key)
    -- MEMORY tells of a key that has expired and is not yet taken away.
    if not dumped then return '', 0, 'none' end
    if isPlain(dumped) then return dumped, spend(#dumped) end
  end
  local kind = typeOf(key)
  -- The key may be asked about, so MEMORY is what was refused: no row need ask again.
  if bytes == nil then tellsMemory = false end
  if kind == 'none' then return '', 0, kind end
  if kind == 'string' then
    -- The end is included, so a large one shows by one byte more.
    local value = redis.call('GETRANGE', key, '0', ARGV[2])
    if #value > LARGE_BYTES then return LARGE, 0, kind end
    return 'value:' .. redis.sha1hex(value), spend(#value), kind
  end
  local large, bytes, count = isLarge(key, kind, bytes)
  if large then return LARGE, 0, kind end
  -- Fields that have expired and are not yet taken away are counted, and are no content.
  if kind == 'hash' and HAS_FIELD_EXPIRY then count = nil end
  dumped = dumped or redis.call('DUMP', key)
  local work = spend(math.max(#dumped, bytes))
  if CARDINALITY[kind] then return 'dump:' .. redis.sha1hex(dumped) .. (count or ''), work, kind end
  -- A module may say that a value takes less memory than it does.
  if #dumped > LARGE_BYTES then return LARGE, work, kind end
  -- Twice, because a type may write the same value in many ways.
  if redis.call('DUMP', key) ~= dumped then error({ err = 'INCOMPARABLE two dumps of one value differ' }) end
  return 'dump:' .. unversioned(dumped), work, kind
end

-- Of a fingerprint.
local function isDump(digest)
  return digest ~= '' and string.byte(digest) < 32
end

-- What the scripts answer of a key without its value: 'expiry DUMP' of a small one, else
-- 'expiry type digest'; '-2 none ' without key. One text, which costs half of what a list does.
local function stateOf(key, digest, kind)
  if kind == 'none' then return NO_KEY .. ' none ' end
  local expiry = inText(expiryOf(key))
  if isDump(digest) then return expiry .. ' ' .. digest end
  return expiry .. ' ' .. kind .. ' ' .. digest
end

-- 'dump:' and the 40 digits of a SHA-1; the count stands behind that.
local DUMP_DIGEST = 45

-- Where one of them is the DUMP itself, or the elements were counted on one side alone.
local function isOfSameDump(one, other)
  if one == other then return true end
  if one == '' or other == '' or #one == #other and not isDump(one) and not isDump(other) then return false end
  if isDump(one) then one = 'dump:' .. redis.sha1hex(one) end
  if isDump(other) then other = 'dump:' .. redis.sha1hex(other) end
  return string.sub(one, 1, 5) == 'dump:' and string.sub(one, 1, DUMP_DIGEST) == string.sub(other, 1, DUMP_DIGEST)
end

-- In the place of a content digest: nobody need make one.
local DIFFERENT = 'different'

-- Whether two different fingerprints of one type, of any two servers, mean different content.
local function provesDifference(one, other)
  if string.sub(one, 1, 6) == 'value:' and string.sub(other, 1, 6) == 'value:' then return true end
  if isDump(one) or isDump(other) or #one <= DUMP_DIGEST or #other <= DUMP_DIGEST then return false end
  return string.sub(one, DUMP_DIGEST + 1) ~= string.sub(other, DUMP_DIGEST + 1)
end
