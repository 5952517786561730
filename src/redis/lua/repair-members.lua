-- Compare-and-set on some members of a key: they are written only if they, the type and the expiry still are as compared.
-- Row in:  key, type, expiry  — as compared, in the words of inspect-members.lua
--          deadline           — in ms of this server's clock; after it nobody waits for the answer any more
--          new expiry         — in ms since the epoch, -1 for none; '' to leave it as it is
--          new type           — as compared, or what the members make of a key that was not there
--          members (packed), their digests as compared (packed), their new cells (packed, as in read-members.lua)
-- Row out: {outcome}: 'changed' (nothing was done), 'repaired', or 'gone': done, and with the last member the key went
--
-- Late or twice: as in repair.lua.

local started = now()

local function setMember(kind, key, member, cell)
  local value = string.sub(cell, 2)
  if kind == 'hash' then
    if cell == '' then redis.call('HDEL', key, member) else redis.call('HSET', key, member, value) end
  elseif kind == 'set' then
    redis.call(cell == '' and 'SREM' or 'SADD', key, member)
  elseif cell == '' then
    redis.call('ZREM', key, member)
  else
    redis.call('ZADD', key, value, member)
  end
end

return eachRow(9, function(first)
  local key, kind, newExpiry, newKind = ARGV[first], ARGV[first + 1], ARGV[first + 4], ARGV[first + 5]
  if started > tonumber(ARGV[first + 3]) then return { 'changed' }, 0 end
  local members, digests = unpackList(ARGV[first + 6]), unpackList(ARGV[first + 7])
  local wanted = unpackList(ARGV[first + 8])
  if typeWith(key, members) ~= kind then return { 'changed' }, 0 end
  if not sameExpiry(expiryOf(key), tonumber(ARGV[first + 2])) then return { 'changed' }, 0 end
  local cells, size = cellsOf(kind, key, members)
  for i = 1, #members do
    if cellDigest(cells[i]) ~= digests[i] then return { 'changed' }, size end
  end
  -- Removals last: with its last member a key would go, and its expiry with it.
  for _, removal in ipairs({ false, true }) do
    for i = 1, #members do
      if cells[i] ~= wanted[i] and (wanted[i] == '') == removal then setMember(newKind, key, members[i], wanted[i]) end
    end
  end
  if redis.call('EXISTS', key) == 0 then return { 'gone' }, size end
  if newExpiry == '-1' then
    redis.call('PERSIST', key)
  elseif newExpiry ~= '' then
    redis.call('PEXPIREAT', key, newExpiry)
  end
  return { 'repaired' }, size
end)
