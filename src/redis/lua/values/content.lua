-- contentDigest(key, kind, size, ofRow): a digest of what the key holds, and the work it took for
-- a value of that size, as `fingerprint` has it. It is the same on every server whatever the
-- encoding, the order of unordered elements or the version. '' for types that are not known: then
-- the fingerprint alone decides. The expiry of the key is no part of it. `ofRow`: as `isOfRow` says
-- of what it is compared with.
--
-- Lua's string comparison follows the server's locale, even for hex digits ('aa' sorts last in
-- Danish): it is used where that is the order of bytes.

local SORTS_BY_BYTES = 'B' < 'a' and '9' < 'B' and '\127' < '\128' and '\195' < '\255'

-- Combines SHA-1 digests without regard to their order: sorted as bytes, or, which is the same, by
-- their first 52 bits as numbers. When two agree in these, the order may depend on the locale after
-- all; the worst that can follow is one repair that was not needed.
local function unordered(digests)
  if SORTS_BY_BYTES then
    table.sort(digests)
    return redis.sha1hex(table.concat(digests))
  end
  local heads, byHead = {}, {}
  for i = 1, #digests do
    local digest = digests[i]
    local head = tonumber(string.sub(digest, 1, 13), 16)
    local twin = byHead[head]
    if not twin then
      heads[#heads + 1] = head
      byHead[head] = digest
    else
      byHead[head] = twin < digest and twin .. digest or digest .. twin
    end
  end
  table.sort(heads)
  for i = 1, #heads do heads[i] = byHead[heads[i]] end
  return redis.sha1hex(table.concat(heads))
end

-- Whether a text comes first by its bytes, whatever the locale.
local function isBefore(one, other)
  local first = 1
  while first <= #one and string.sub(one, first, first + 7) == string.sub(other, first, first + 7) do first = first + 8 end
  for i = first, math.min(#one, #other) do
    local byte, otherByte = string.byte(one, i), string.byte(other, i)
    if byte ~= otherByte then return byte < otherByte end
  end
  return #one < #other
end

-- A few short texts are sorted as they are, for that is cheaper than a digest of each. Which way it
-- is depends on the texts alone. Says what work `isBefore` was.
local FEW, FEW_BYTES = 16, 512
local BEFORE_WORK, BEFORE_BYTE_WORK = 1000, 32
local function digestOfUnordered(texts)
  local bytes = 0
  for i = 1, #texts do bytes = bytes + #texts[i] end
  if #texts <= FEW and bytes <= FEW_BYTES then
    local work = SORTS_BY_BYTES and 0 or BEFORE_WORK * #texts + BEFORE_BYTE_WORK * bytes
    table.sort(texts, not SORTS_BY_BYTES and isBefore or nil)
    return redis.sha1hex(packList(texts)), work
  end
  for i = 1, #texts do texts[i] = redis.sha1hex(texts[i]) end
  return unordered(texts), 0
end

-- {field = expiry in ms since the epoch} for the fields of a hash that have one. `flat` is the
-- reply of HGETALL. An expiry is compared to the millisecond: no digest can tolerate a little.
-- Remembers when the first of them expires, -1 when none does, for `soonestExpiry`.
local lastHash, lastSoonest
local function fieldExpiries(key, flat)
  local found = {}
  lastHash, lastSoonest = key, -1
  if not HAS_FIELD_EXPIRY then return found end
  -- None expires in this form, and each would be looked for among all others.
  if redis.pcall('OBJECT', 'ENCODING', key) == 'listpack' then return found end
  for first = 1, #flat, 2 * FIELDS_PER_CALL do
    local fields = {}
    for i = first, math.min(#flat, first + 2 * FIELDS_PER_CALL - 1), 2 do fields[#fields + 1] = flat[i] end
    local expiries = redis.call('HPEXPIRETIME', key, 'FIELDS', #fields, unpack(fields))
    for i = 1, #fields do
      local expiry = expiries[i]
      if expiry >= 0 then
        found[fields[i]] = expiry
        if lastSoonest < 0 or expiry < lastSoonest then lastSoonest = expiry end
      end
    end
  end
  return found
end

-- When the first field of a hash expires, -1 when none does; and how many elements had to be got
-- for that. For scripts that only read: what was asked of the hash just before still holds.
local function soonestExpiry(key)
  if not HAS_FIELD_EXPIRY then return -1, 0 end
  if lastHash == key then return lastSoonest, 0 end
  local flat = redis.call('HGETALL', key)
  fieldExpiries(key, flat)
  return lastSoonest, #flat
end

-- Versions write the same number differently (0.1 or 0.10000000000000001, -0 or 0).
local function canonicalScore(text)
  local score = tonumber(text)
  if score == 0 then score = 0 end
  return string.format('%.17g', score)
end

-- In front of the digest of a row of a database: it says nothing of when fields expire.
local ROW = 'row:'
local function isOfRow(digest)
  return string.sub(digest, 1, #ROW) == ROW
end

-- Each answers with the digest, the elements that Lua got, and what other work there was, if any.
local digestOf = {}

function digestOf.string(key)
  -- Not GET: one right less to be granted.
  return redis.sha1hex(redis.call('GETRANGE', key, 0, -1)), 0
end

function digestOf.list(key)
  local elements = redis.call('LRANGE', key, 0, -1)
  return redis.sha1hex(packList(elements)), #elements
end

function digestOf.set(key)
  local members = redis.call('SMEMBERS', key)
  local count = #members
  local digest, work = digestOfUnordered(members)
  return digest, count, work
end

function digestOf.hash(key, ofRow)
  local flat = redis.call('HGETALL', key)
  local expiries = ofRow and {} or fieldExpiries(key, flat)
  local elements = {}
  for i = 1, #flat, 2 do
    local field = flat[i]
    local expiry = expiries[field]
    local element = lengthPrefix[#field] .. field .. flat[i + 1]
    -- The other case begins with a digit.
    if expiry then element = string.format('expires %.0f ', expiry) .. element end
    elements[#elements + 1] = element
  end
  local digest, work = digestOfUnordered(elements)
  return digest, #flat, work
end

-- A sorted set has one order on all servers: by score, then by the bytes of the member.
function digestOf.zset(key)
  local flat = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 2, #flat, 2 do flat[i] = canonicalScore(flat[i]) end
  return redis.sha1hex(packList(flat)), #flat
end

-- Entries, consumer groups, consumers and what is pending; not the times at which something was
-- seen or delivered.
function digestOf.stream(key)
  local stream = named(redis.call('XINFO', 'STREAM', key, 'FULL', 'COUNT', 0))
  local parts = {}
  local function add(part) parts[#parts + 1] = part end
  add(stream['last-generated-id'])
  add(#stream.entries)
  for _, entry in ipairs(stream.entries) do
    add(entry[1])
    add(#entry[2])
    for _, text in ipairs(entry[2]) do add(text) end
  end
  add(#stream.groups)
  for _, reply in ipairs(stream.groups) do
    local group = named(reply)
    add(group.name)
    add(group['last-delivered-id'])
    add(#group.pending)
    for _, pending in ipairs(group.pending) do
      add(pending[1]) -- entry
      add(pending[2]) -- consumer
      add(pending[4]) -- times delivered
    end
    add(#group.consumers)
    for _, consumer in ipairs(group.consumers) do add(named(consumer).name) end
  end
  return redis.sha1hex(packList(parts)), #parts
end

local function contentDigest(key, kind, size, ofRow)
  if not digestOf[kind] then return '', 0 end
  local digest, elements, work = digestOf[kind](key, ofRow)
  if ofRow then digest = ROW .. digest end
  return digest, spend(2 * size + ELEMENT_WORK * elements + (work or 0))
end
