-- Compare-and-set on some members of a key: they are written only if they, the type and the expiry still are as compared.
-- Row in:  key, type, expiry  — as compared, in the words of inspect-members.lua
--          deadline           — in ms of this server's clock; after it nobody waits for the answer any more
--          new expiry         — in ms since the epoch, -1 for none; '' to leave it as it is
--          members (packed), their digests as compared (packed), their new cells (packed, as in read-members.lua)
-- Row out: {outcome}: 'changed' (nothing was done), 'repaired', or 'gone': done, and with the last member the key went;
--          or the error NOFIELDEXPIRY, with nothing done
--
-- Late or twice: as in repair.lua.

local started = now()

-- A field loses its expiry with HSET; what it is to have comes behind, see `takeAway`.
local function put(kind, key, member, cell)
  local _, value = partsOf(cell)
  if kind == 'hash' then
    redis.call('HSET', key, member, value)
  elseif kind == 'set' then
    redis.call('SADD', key, member)
  else
    redis.call('ZADD', key, value, member)
  end
end

local REMOVAL = { hash = 'HDEL', set = 'SREM', zset = 'ZREM' }

-- Takes a member away at once, or later by its expiry. One that has passed removes the field: never resurrected.
local function takeAway(kind, key, member, cell)
  if cell == '' then
    redis.call(REMOVAL[kind], key, member)
    return
  end
  local expiry = partsOf(cell)
  if expiry ~= '' then redis.call('HPEXPIREAT', key, expiry, 'FIELDS', 1, member) end
end

return eachRow(8, function(first)
  local key, kind, newExpiry = ARGV[first], ARGV[first + 1], ARGV[first + 4]
  if started > tonumber(ARGV[first + 3]) then return { 'changed' }, 0 end
  local members, digests = unpackList(ARGV[first + 5]), unpackList(ARGV[first + 6])
  local wanted = unpackList(ARGV[first + 7])
  if typeOf(key) ~= kind then return { 'changed' }, 0 end
  if not sameExpiry(expiryOf(key), tonumber(ARGV[first + 2])) then return { 'changed' }, 0 end
  local cells, size = cellsOf(kind, key, members)
  for i = 1, #members do
    if cellDigest(cells[i]) ~= digests[i] then return { 'changed' }, size end
  end
  for i = 1, #members do
    if string.find(wanted[i], '^%d') then requireFieldExpiry() end
  end
  for i = 1, #members do
    if cells[i] ~= wanted[i] and wanted[i] ~= '' then put(kind, key, members[i], wanted[i]) end
  end
  -- Afterwards: with its last member a key would go, and its expiry with it.
  for i = 1, #members do
    if cells[i] ~= wanted[i] then takeAway(kind, key, members[i], wanted[i]) end
  end
  if redis.call('EXISTS', key) == 0 then return { 'gone' }, size end
  if newExpiry == '-1' then
    redis.call('PERSIST', key)
  elseif newExpiry ~= '' then
    redis.call('PEXPIREAT', key, newExpiry)
  end
  return { 'repaired' }, size
end)
