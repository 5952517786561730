-- One page of the keys of this server, by the rules of SCAN, without those of keymend itself. Reads
-- only.
-- Row in:  cursor ('0' at the beginning), count (about so many are looked at), a pattern, a type
--          (each '' for all), 1 if a digest is wanted, the cursor for a node of a Cluster that has
--          the keys of each slot apart ('': the same)
-- Row out: {next cursor, keys (packed), how many were left out}, and with a digest what page.lua
--          says of the keys

-- Redis 7.4 and Valkey 8.
local HAS_SLOTS_APART = (redis.REDIS_VERSION_NUM or 0) >= 0x70400 or (redis.VALKEY_VERSION_NUM or 0) >= 0x80000

return eachRow(6, function(first)
  local ofSlot = ARGV[first + 5]
  local command = { 'SCAN', HAS_SLOTS_APART and ofSlot ~= '' and ofSlot or ARGV[first], 'COUNT', ARGV[first + 1] }
  local function add(word, argument)
    if argument ~= '' then command[#command + 1], command[#command + 2] = word, argument end
  end
  add('MATCH', ARGV[first + 2])
  add('TYPE', ARGV[first + 3])
  local found = redis.pcall(unpack(command))
  if found.err then
    -- Valkey 9 refuses a type that it does not know; other servers say what is true, that there is
    -- no key of it.
    if not string.find(found.err, 'unknown type name', 1, true) then error(found) end
    found = { '0', {} }
  end
  local keys = {}
  for _, key in ipairs(found[2]) do
    if not isOwn(key) then keys[#keys + 1] = key end
  end
  local own = #found[2] - #keys
  if ARGV[first + 4] ~= '1' then return { found[1], packList(keys), own }, 0 end
  local digest, expiries, large, done, soonest, work = digestPage(keys)
  return { found[1], packList(keys), own, digest, expiries, large, done, soonest }, work
end)
