-- Compare-and-set on some members of a key: they are written only if they, the type and the expiry
-- still are as compared.
-- Row in:  key, type, expiry  — as compared, in the words of member-rows.lua
--          deadline           — in ms of this server's clock; after it nobody waits any more
--          new expiry         — in ms since the epoch, -1 for none; '' to leave it as it is
--          new type           — as compared, or what the members make of a key that was not there
--          members (packed), their digests as compared (packed), their new cells (packed, as in
--          members.lua)
--          mark               — the name of the key's mark
-- Row out: {outcome}: 'changed' or 'late' (nothing was done), 'repaired', or 'gone': done, and with
--          the last member the key went; or the error NOFIELDEXPIRY, with nothing done
--
-- Late or twice: as in repair.lua.

local started = now()

local PUT = { hash = 'HSET', set = 'SADD', zset = 'ZADD' }
local REMOVE = { hash = 'HDEL', set = 'SREM', zset = 'ZREM' }

local function callInParts(name, key, arguments)
  for first = 1, #arguments, ARGUMENTS_PER_COMMAND do
    redis.call(name, key, unpack(arguments, first, math.min(first + ARGUMENTS_PER_COMMAND - 1, #arguments)))
    wrote = 'wrote'
  end
end

-- A field loses its expiry with HSET; what it is to have comes behind, see `takeAway`.
local function put(kind, key, members, cells, wanted)
  local arguments = {}
  local function add(argument) arguments[#arguments + 1] = argument end
  for i = 1, #members do
    if cells[i] ~= wanted[i] and wanted[i] ~= '' then
      local _, value = partsOf(wanted[i])
      if kind == 'zset' then add(value) end
      add(members[i])
      if kind == 'hash' then add(value) end
    end
  end
  if #arguments > 0 then requireRoom() end
  callInParts(PUT[kind], key, arguments)
end

-- Takes members away at once, or later by their expiry. One that has passed removes the field:
-- never resurrected.
local function takeAway(kind, key, members, cells, wanted)
  local removed = {}
  for i = 1, #members do
    local expiry = wanted[i] ~= '' and partsOf(wanted[i]) or ''
    if cells[i] ~= wanted[i] and wanted[i] == '' then
      removed[#removed + 1] = members[i]
    elseif cells[i] ~= wanted[i] and expiry ~= '' then
      redis.call('HPEXPIREAT', key, expiry, 'FIELDS', 1, members[i])
      wrote = 'wrote'
    end
  end
  callInParts(REMOVE[kind], key, removed)
end

return eachRow(10, function(first)
  local key, kind, newExpiry, newKind = ARGV[first], ARGV[first + 1], ARGV[first + 4], ARGV[first + 5]
  local members, digests = unpackList(ARGV[first + 6]), unpackList(ARGV[first + 7])
  local wanted = unpackList(ARGV[first + 8])
  if typeOf(key) ~= kind then return { 'changed' }, 0 end
  if not sameExpiry(expiryOf(key), tonumber(ARGV[first + 2])) then return { 'changed' }, 0 end
  local cells, size = cellsOf(kind, key, members)
  for i = 1, #members do
    if cellDigest(cells[i]) ~= digests[i] then return { 'changed' }, size end
  end
  if started > tonumber(ARGV[first + 3]) then return { 'late' }, size end
  for i = 1, #members do
    if string.find(wanted[i], '^%d') then requireFieldExpiry() end
  end
  -- For the rows behind it.
  if first + 10 <= #ARGV then lookForRoom(key) end
  put(newKind, key, members, cells, wanted)
  -- Afterwards: with its last member a key would go, and its expiry with it.
  takeAway(newKind, key, members, cells, wanted)
  local outcome = isGone(key) and 'gone' or 'repaired'
  if outcome == 'repaired' and newExpiry ~= '' then setExpiry(key, newExpiry, started) end
  leaveMark(ARGV[first + 9])
  -- They are looked up once more to be written.
  return { outcome }, outcome == 'gone' and size or 3 * size
end)
