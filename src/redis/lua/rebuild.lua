-- Compare-and-set like repair.lua's 'restore', for a value that this server can't RESTORE: it is built by commands beside the
-- key and then put in its place, so that a command which fails half-way leaves the key as it was.
-- Row in:  key, digest, expiry — as compared, in the words of inspect.lua
--          deadline            — in ms of this server's clock; after it nobody waits for the answer any more
--          new expiry          — in ms since the epoch, -1 for none
--          recipe              — as in recipe.lua
-- Row out: {outcome}: 'changed' (nothing was done), 'restored', or 'expired': the new expiry lies in the past, so the key is gone

local started = now()

local function call(key, command)
  local name, part = string.match(command[1], '^(%S+) ?(%S*)$')
  if part == '' then return redis.call(name, key, unpack(command, 2)) end
  return redis.call(name, part, key, unpack(command, 2))
end

local function build(key, recipe, expiry)
  for _, command in ipairs(unpackList(recipe)) do call(key, unpackList(command)) end
  if expiry ~= '-1' then redis.call('PEXPIREAT', key, expiry) end
end

return eachRow(6, function(first)
  local key, newExpiry, recipe = ARGV[first], ARGV[first + 4], ARGV[first + 5]
  local digest, size = fingerprint(key)
  size = size + #recipe
  if digest == LARGE or digest ~= ARGV[first + 1] or started > tonumber(ARGV[first + 3]) then return { 'changed' }, size end
  if not sameExpiry(expiryOf(key), tonumber(ARGV[first + 2])) then return { 'changed' }, size end
  -- Nobody sees this name, because nothing else runs before the script has ended.
  local beside = 'keymend:rebuild:' .. key
  local ok, failure = pcall(build, beside, recipe, newExpiry)
  if not ok then
    redis.call('UNLINK', beside)
    error(failure)
  end
  if redis.call('EXISTS', beside) == 0 then
    redis.call('UNLINK', key)
    return { 'expired' }, size
  end
  redis.call('RENAME', beside, key)
  return { 'restored' }, size
end)
