-- Compare-and-set like repair.lua's 'restore', for a value that this server can't RESTORE: it is
-- built by commands beside the key and then put in its place, so that a command which fails
-- half-way leaves the key as it was.
-- Row in:  key, digest, expiry — as compared, in the words of inspect.lua
--          deadline            — in ms of this server's clock; after it nobody waits any more
--          new expiry          — in ms since the epoch, -1 for none
--          expiry tolerated    — '1' when the present expiry is close enough to the new one
--          content             — content digest of the new value ('' if none is to be compared)
--          recipe              — as in recipe.lua
--          beside              — a name in the key's slot, where the value is built
--          mark                — the name of the key's mark
-- Row out: {outcome}: as repair.lua says for 'restore'; or the error NOFIELDEXPIRY, with nothing
--          done

local started = now()

local function build(key, recipe, expiry)
  redis.call('UNLINK', key)
  for _, packed in ipairs(unpackList(recipe)) do
    local command = unpackList(packed)
    spend(#packed + ELEMENT_WORK * #command)
    if command[1] == 'HPEXPIREAT' then requireFieldExpiry() end
    runCommand(key, command)
  end
  if expiry ~= '-1' then redis.call('PEXPIREAT', key, expiry) end
end

local function buildAndPut(key, recipe, expiry, beside)
  build(beside, recipe, expiry)
  -- Its expiry, or that of each of its fields, has passed.
  if redis.call('EXISTS', beside) == 0 then
    redis.call('UNLINK', key)
    return 'expired'
  end
  redis.call('RENAME', beside, key)
  return 'restored'
end

-- Nobody sees the name beside, because nothing else runs before the script has ended.
local function replace(key, recipe, expiry, beside)
  if expiry ~= '-1' and tonumber(expiry) <= started then
    redis.call('UNLINK', key)
    return 'expired'
  end
  local ok, outcome = pcall(buildAndPut, key, recipe, expiry, beside)
  if not ok then
    -- Past `redis`: the command that is named is the one that failed.
    server.pcall('UNLINK', beside)
    operations = operations + 1
    error(outcome, 0)
  end
  return outcome
end

return eachRow(10, function(first)
  local key, newExpiry, content, recipe = ARGV[first], ARGV[first + 4], ARGV[first + 6], ARGV[first + 7]
  local digest, size, kind = fingerprint(key)
  size = size + #recipe
  if digest == LARGE or digest ~= ARGV[first + 1] then return { 'changed' }, size end
  if not sameExpiry(expiryOf(key), tonumber(ARGV[first + 2])) then return { 'changed' }, size end
  if started > tonumber(ARGV[first + 3]) then return { 'late' }, size end
  lookForRoom(key)
  local present, work = '', 0
  if content ~= '' and content ~= DIFFERENT then
    present, work = contentDigest(key, kind or typeOf(key), size, isOfRow(content))
  end
  size = size + work
  if content == '' or present ~= content then
    requireRoom()
    local outcome = replace(key, recipe, newExpiry, ARGV[first + 8])
    leaveMark(ARGV[first + 9])
    return { outcome }, spent
  end
  if ARGV[first + 5] == '1' then return { 'equal' }, size end
  setExpiry(key, newExpiry, started)
  wrote = 'wrote'
  local outcome = isGone(key) and 'expired' or 'expiry'
  leaveMark(ARGV[first + 9])
  return { outcome }, size
end)
