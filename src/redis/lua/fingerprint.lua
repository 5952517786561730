-- fingerprint(key): what identifies a key's type and content, as cheaply as it can be had. Stands
-- behind content.lua.

-- From so many bytes on the elements are counted as well: that is cheap beside the DUMP.
local COUNTED_BYTES = 1024

-- Not for strings. A type that is not known can only be dumped, whatever its size. Answers with the
-- bytes in memory as well, and how many elements there are where they were counted.
local function isLarge(key, kind)
  if not CARDINALITY[kind] then return false, 0 end
  -- Exact up to the limit of elements: a single huge one counts.
  local bytes = bytesOf(key, kind, ARGV[1])
  if bytes > LARGE_BYTES then return true, bytes end
  -- The shortest element takes two bytes, so most keys are spared this question. Not where the
  -- bytes are estimated by a sample: that says something else each time, and the digest must not.
  if tellsMemory and bytes <= COUNTED_BYTES and bytes <= 2 * LARGE_ELEMENTS then return false, bytes end
  local count = elementsOf(key, kind)
  return count > LARGE_ELEMENTS or isHardToRead(key, kind, count), bytes, count
end

-- Of a DUMP of a type that is not known, whose content can't be compared otherwise: without the
-- version and the checksum at its end, so that other versions of Redis say the same of it.
local function unversioned(dump)
  return server.sha1hex(string.sub(dump, 1, -11))
end

-- The digest of every large value. It proves nothing.
local LARGE = 'large'

-- Of the key that `fingerprint` was asked of last: its DUMP, if one was made, and how many elements
-- it has, if they were counted.
local dumped, counted

local function digestOfDump(key, kind)
  dumped = dumped or redis.call('DUMP', key)
  if CARDINALITY[kind] then return 'dump:' .. redis.sha1hex(dumped) .. (counted or '') end
  -- Twice, because a type may write the same value in many ways.
  if redis.call('DUMP', key) ~= dumped then error({ err = 'INCOMPARABLE two dumps of one value differ' }) end
  return 'dump:' .. unversioned(dumped)
end

-- Digest, work and type of a key; '', 0, 'none' without key; LARGE, 0 and the type of a
-- large one. Other equal digests prove equal type and content. Different ones prove nothing, but
-- for what `provesDifference` says. They are made
--   from a string's value,
--   from the content of a set of few members, unless its DUMP is asked for: that of a hash table
--   has an order of its own on each server,
--   from the DUMP of all others, with how many elements there are where that is known.
local function fingerprint(key, asDump)
  local kind = typeOf(key)
  dumped, counted = nil, nil
  if kind == 'none' then return '', 0, kind end
  if kind == 'string' then
    -- The end is included, so a large one shows by one byte more.
    local value = redis.call('GETRANGE', key, '0', ARGV[2])
    if #value > LARGE_BYTES then return LARGE, 0, kind end
    return 'value:' .. redis.sha1hex(value), spend(#value), kind
  end
  local large, bytes, count = isLarge(key, kind)
  if large then return LARGE, 0, kind end
  -- Fields that have expired and are not yet taken away are counted, and are no content.
  if kind ~= 'hash' or not HAS_FIELD_EXPIRY then counted = count end
  if kind == 'set' and not asDump and (count or redis.call('SCARD', key)) <= FEW then
    local content, work = contentDigest(key, kind, bytes)
    return 'content:' .. content, spend(bytes) + work, kind
  end
  local digest = digestOfDump(key, kind)
  return digest, spend(math.max(#dumped, bytes)), kind
end

local function isOfContent(digest) return string.sub(digest, 1, 8) == 'content:' end

-- 'dump:' and the 40 digits of a SHA-1; the count stands behind that.
local DUMP_DIGEST = 45

-- Where the elements were counted on one side alone: two of one length are equal, or not of one
-- DUMP.
local function isOfSameDump(one, other)
  if #one == #other or string.sub(one, 1, 5) ~= 'dump:' then return false end
  return string.sub(one, 1, DUMP_DIGEST) == string.sub(other, 1, DUMP_DIGEST)
end

-- In the place of a content digest: nobody need make one.
local DIFFERENT = 'different'

-- Whether two different fingerprints of one type, of any two servers, mean different content.
local function provesDifference(kind, one, other)
  if kind == 'string' then return true end
  -- Of two sets either both have few members, or they have not equally many.
  if kind == 'set' and (isOfContent(one) or isOfContent(other)) then return true end
  if #one <= DUMP_DIGEST or #other <= DUMP_DIGEST then return false end
  return string.sub(one, DUMP_DIGEST + 1) ~= string.sub(other, DUMP_DIGEST + 1)
end
