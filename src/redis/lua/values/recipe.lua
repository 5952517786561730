-- recipeOf(key, kind): the commands that build the key anew, and how many words they have; for a
-- server that can't read this one's DUMP; nil for a type that commands can't build. One packed list
-- of packed commands, without the key: {'RPUSH', 'a', 'b'}, {'XGROUP CREATE', 'g', '0-0'}. Not
-- kept, as nothing compares them either: when a pending entry of a stream was delivered and a
-- consumer seen.

-- Lua's stack holds 8,000 of them. What can't be parted, and has more than this, no script can
-- write: an entry of a stream, for which temporary-key.ts has the same number.
local LONGEST_COMMAND = 4000

-- One command, or several where it has too many arguments. They stay together in groups of `width`.
local function inParts(recipe, name, arguments, width)
  local step = ARGUMENTS_PER_COMMAND - ARGUMENTS_PER_COMMAND % width
  for first = 1, #arguments, step do
    recipe[#recipe + 1] = { name, unpack(arguments, first, math.min(first + step - 1, #arguments)) }
  end
end

local function withScoresFirst(flat)
  local turned = {}
  for i = 1, #flat, 2 do turned[i], turned[i + 1] = flat[i + 1], flat[i] end
  return turned
end

local function addHash(recipe, key)
  local flat = redis.call('HGETALL', key)
  inParts(recipe, 'HSET', flat, 2)
  local byExpiry = {}
  for field, expiry in pairs(fieldExpiries(key, flat)) do
    local at = digits(expiry)
    byExpiry[at] = byExpiry[at] or {}
    table.insert(byExpiry[at], field)
  end
  for at, fields in pairs(byExpiry) do
    for first = 1, #fields, FIELDS_PER_CALL do
      local last = math.min(first + FIELDS_PER_CALL - 1, #fields)
      recipe[#recipe + 1] = { 'HPEXPIREAT', at, 'FIELDS', last - first + 1, unpack(fields, first, last) }
    end
  end
end

local function addGroup(recipe, group)
  local create = { 'XGROUP CREATE', group.name, group['last-delivered-id'] }
  local read = group['entries-read']
  if read then create[4], create[5] = 'ENTRIESREAD', digits(read) end
  recipe[#recipe + 1] = create
  for _, consumer in ipairs(group.consumers) do
    recipe[#recipe + 1] = { 'XGROUP CREATECONSUMER', group.name, named(consumer).name }
  end
  for _, entry in ipairs(group.pending) do
    local id, consumer, deliveredAt, count = unpack(entry)
    recipe[#recipe + 1] =
      { 'XCLAIM', group.name, consumer, 0, id, 'TIME', deliveredAt, 'RETRYCOUNT', count, 'FORCE', 'JUSTID' }
  end
end

-- Both parts of an ID have up to 20 digits: too many for a number, so they are compared as digits.
local function isBefore(one, other)
  local ms, sequence = string.match(one, '(%d+)-(%d+)')
  local otherMs, otherSequence = string.match(other, '(%d+)-(%d+)')
  if ms == otherMs then ms, otherMs = sequence, otherSequence end
  if #ms ~= #otherMs then return #ms < #otherMs end
  return ms < otherMs
end

-- The entries in order, with stand-ins for what is pending although it was deleted or trimmed away,
-- and the IDs of these in order: servers since Redis 7 make an entry pending only while it is
-- there.
local function withStandIns(stream)
  local entries, missing, known = {}, {}, {}
  for i, entry in ipairs(stream.entries) do
    entries[i] = entry
    known[entry[1]] = true
  end
  for _, group in ipairs(stream.groups) do
    for _, pending in ipairs(named(group).pending) do
      local id = pending[1]
      if not known[id] then
        known[id] = true
        missing[#missing + 1] = id
        entries[#entries + 1] = { id, { 'keymend', '' } }
      end
    end
  end
  if #missing > 0 then
    table.sort(entries, function(one, other) return isBefore(one[1], other[1]) end)
    table.sort(missing, isBefore)
  end
  return entries, missing
end

-- Takes the stand-ins away. Those in front of all entries are trimmed: XDEL notes the greatest ID
-- that was ever deleted, behind which Redis does not know a group's lag any more.
local function removeStandIns(recipe, stream, missing)
  local firstEntry = stream.entries[1]
  local front = 0
  while front < #missing and not (firstEntry and isBefore(firstEntry[1], missing[front + 1])) do front = front + 1 end
  if front > 0 then recipe[#recipe + 1] = { 'XTRIM', 'MAXLEN', #stream.entries + #missing - front } end
  for i = front + 1, #missing do recipe[#recipe + 1] = { 'XDEL', missing[i] } end
end

local function addStream(recipe, key)
  local stream = named(redis.call('XINFO', 'STREAM', key, 'FULL', 'COUNT', 0))
  -- A stream may be empty, and then only a group brings it into being.
  recipe[#recipe + 1] = { 'XGROUP CREATE', 'keymend', '0', 'MKSTREAM' }
  recipe[#recipe + 1] = { 'XGROUP DESTROY', 'keymend' }
  local entries, missing = withStandIns(stream)
  for _, entry in ipairs(entries) do
    if #entry[2] > LONGEST_COMMAND then error({ err = 'TOOLONG an entry has too many fields for a script' }) end
    local command = { 'XADD', entry[1] }
    for _, part in ipairs(entry[2]) do command[#command + 1] = part end
    spend(ELEMENT_WORK * #command)
    recipe[#recipe + 1] = command
  end
  for _, group in ipairs(stream.groups) do addGroup(recipe, named(group)) end
  removeStandIns(recipe, stream, missing)
  local setId = { 'XSETID', stream['last-generated-id'] }
  local added = stream['entries-added']
  if added then
    setId[3], setId[4] = 'ENTRIESADDED', digits(added)
    setId[5], setId[6] = 'MAXDELETEDID', stream['max-deleted-entry-id']
  end
  recipe[#recipe + 1] = setId
end

local function recipeOf(key, kind)
  -- It begins with what does nothing, for a hash may be there although each of its fields has
  -- expired: then it is all of it.
  local recipe = { { 'PERSIST' } }
  if kind == 'string' then
    recipe[1] = { 'SET', redis.call('GETRANGE', key, 0, -1) }
  elseif kind == 'list' then
    inParts(recipe, 'RPUSH', redis.call('LRANGE', key, 0, -1), 1)
  elseif kind == 'set' then
    inParts(recipe, 'SADD', redis.call('SMEMBERS', key), 1)
  elseif kind == 'hash' then
    addHash(recipe, key)
  elseif kind == 'zset' then
    inParts(recipe, 'ZADD', withScoresFirst(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')), 2)
  elseif kind == 'stream' then
    addStream(recipe, key)
  else
    return nil
  end
  local words = 0
  for i = 1, #recipe do
    words = words + #recipe[i]
    recipe[i] = packList(recipe[i])
  end
  return packList(recipe), words
end
