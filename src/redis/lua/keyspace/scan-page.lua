-- One page of the keys of this server, by the rules of SCAN, without those of keymend itself. Reads
-- only.
-- Row in:  cursor ('0' at the beginning), count (about so many are looked at), a pattern, a type
--          (each '' for all), 1 if a digest is wanted
-- Row out: {next cursor, keys (packed), how many were left out}, and with a digest what page.lua
--          says of the keys

return eachRow(5, function(first)
  local command = { 'SCAN', ARGV[first], 'COUNT', ARGV[first + 1] }
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
  local digest, expiries, large, done, work = digestPage(keys)
  return { found[1], packList(keys), own, digest, expiries, large, done }, work
end)
