-- digestPage(keys): one digest over what many keys hold, as content.lua sees it: the same on every
-- server. What costs is a sha1 and Lua's strings for each key, so a plain string goes into the
-- digest as it is. Stands behind fingerprint.lua.
-- Answers with the digest, the expiries of the keys, the large ones among them (packed), how many
-- keys were gone through (the first ones, one at least: it stops where that is much work), when the
-- first field of a hash expires (-1: none does, 0: that is not known), and the work. The expiries
-- are ms since the epoch, -1 for none, -2 without key, with spaces between; '' where no key has
-- any. They are no part of the digest, for a little difference may be tolerated.

-- A byte of a key is copied some times: for each command, and on its way in and out.
local KEY_BYTE_WORK = 2

local OWN_PREFIX = 'keymend:'

local function isOwn(key)
  return string.sub(key, 1, #OWN_PREFIX) == OWN_PREFIX
end

-- Of no string, and nil of what is too large to be gone through at once; and the work.
local function digestOfCollection(key, kind)
  local bytes = memoryOf(key)
  -- What is so small has few elements, whose number need not be asked. A group of a stream is more.
  if not bytes or bytes > SMALL_BYTES or kind == 'stream' then
    local large
    large, bytes = isLarge(key, kind, bytes)
    if large then return nil, 0 end
  end
  local digest, work = contentDigest(key, kind, bytes)
  if digest ~= '' then return kind .. ' ' .. digest, work end
  local dump = redis.call('DUMP', key)
  if #dump > LARGE_BYTES then return nil, #dump end
  return kind .. ' ' .. unversioned(dump), #dump
end

local NO_FIELDS = 'hash ' .. digestOfUnordered({})

local function digestPage(keys)
  local parts, expiries, large = {}, {}, {}
  local work, done, expire, soonest = 0, 0, false, -1
  local function addLarge(key)
    large[#large + 1] = key
    parts[#parts + 1] = 'large'
  end
  local function addString(key)
    -- Not GET: the end is included, so a large string shows by one byte more, and is not read.
    local value = redis.call('GETRANGE', key, '0', ARGV[2])
    if #value > LARGE_BYTES then
      addLarge(key)
    else
      -- A number in front, where all other parts begin with a letter.
      parts[#parts + 1], parts[#parts + 2] = lengthPrefix[#value], value
    end
    return #value
  end
  local function addCollection(key, kind)
    local digest, ofCollection = digestOfCollection(key, kind)
    if digest then parts[#parts + 1] = digest else addLarge(key) end
    if kind == 'hash' and HAS_FIELD_EXPIRY then
      -- Not known of a large one, whose fields are not gone through. One whose fields have all
      -- expired goes at any moment.
      local first = digest and digest ~= NO_FIELDS and soonestExpiry(key) or 0
      if first >= 0 and (soonest < 0 or first < soonest) then soonest = first end
    end
    return ofCollection
  end
  while done < #keys and (done == 0 or work < WORK_LIMIT) do
    done = done + 1
    local key, before = keys[done], spent
    local more = ROW_WORK + KEY_BYTE_WORK * #key
    -- A command of another type would be an error, which servers count and people watch.
    local kind = typeOf(key)
    if kind == 'none' then
      parts[#parts + 1] = 'none'
    else
      more = more + (kind == 'string' and addString or addCollection)(key, kind)
    end
    local expiry = expiryOf(key)
    if expiry ~= -1 then expire = true end
    expiries[done] = inText(expiry)
    work = work + math.max(spend(more), spent - before)
  end
  local said = expire and table.concat(expiries, ' ') or ''
  return redis.sha1hex(table.concat(parts)), said, packList(large), done, inText(soonest), work
end
