-- Stands in front of every other script of this folder.
--
-- How a script is called: EVALSHA sha 0 LIMITS ROW ROW …, each row a fixed number of arguments, the
-- key first. Keys travel as ARGV because one call serves many keys, which in a cluster lie in
-- different slots of one node. No script carries a shebang (`#!lua`): an out-of-memory target would
-- refuse it as a whole, deletes too, and Redis 6 does not know it.
--
-- What a script answers: {now, operations, row, row, …}, `now` being this server's clock in ms and
-- `operations` how many commands INFO commandstats counts for this call. A row is what the script's
-- header says, a list or one text, or {'error', text, command, 'own' or '', 'wrote' or ''} when
-- this one key failed at that command, which named a key of ours, and had been written before; the
-- others are not touched by that.
-- There may be fewer rows than keys (see WORK_LIMIT): the caller asks again for the rest.

-- The call of the script itself is one, each command it calls another.
local operations = 1
-- Of the last command, for what is said when it is refused: Redis does not always name it.
local lastCommand, lastArguments = '', {}
local server = redis
local redis = setmetatable({
  sha1hex = server.sha1hex,
  call = function(...)
    operations = operations + 1
    lastCommand, lastArguments[1], lastArguments[2] = ...
    return server.call(...)
  end,
  pcall = function(...)
    operations = operations + 1
    lastCommand, lastArguments[1], lastArguments[2] = ...
    return server.pcall(...)
  end,
}, { __index = server })

local NO_KEY = -2
-- So many arguments fit into one command: Lua's stack is bounded.
local ARGUMENTS_PER_COMMAND = 1000
local HAS_SUBCOMMANDS = { MEMORY = true, XGROUP = true, XINFO = true }

-- LIMITS: a value with more elements or bytes than these two is large. No script goes through one
-- as a whole. Commands are given them as they came, for writing a number costs as much as a small
-- command.
local LARGE_ELEMENTS, LARGE_BYTES = tonumber(ARGV[1]), tonumber(ARGV[2])
local FIRST_ROW = 3

-- A script takes no further row after this much work, so that one call neither holds the server for
-- long nor builds a huge reply. It always takes one. Work is counted in what a byte costs that is
-- read and digested: 5 ns, and 10 where all cores are busy.
local WORK_LIMIT = 786432
local ROW_WORK = 200
-- An element of a collection costs its bytes and this much for each time that Lua gets it.
local ELEMENT_WORK = 250

-- What was done for a row so far: it is charged that at least, and what it was given if it fails.
local spent = 0
-- 'wrote' once the row's key was written, for what is said when a later command is refused.
local wrote = ''
local function spend(work)
  spent = spent + work
  return work
end

-- An integer of Redis has 64 bits, a number of Lua 53. From there on it is said in digits, to the
-- nearest number of Lua, of which the greatest does not fit into 64 bits any more.
local EXACT = 2 ^ 53
local function digits(integer)
  return integer < 2 ^ 63 and string.format('%.0f', integer) or '9223372036854775807'
end
local function said(integer)
  return integer < EXACT and integer or digits(integer)
end
-- The same as a part of a text, in which Lua alone would write 14 digits.
local function inText(integer)
  -- Most keys have no expiry, and to write a number costs as much as a small command.
  if integer == -1 then return '-1' end
  return integer < 1e14 and integer or digits(integer)
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Redis 7 knows absolute expiries. Earlier they are summed from two clock readings, which may
-- differ by a tick.
local HAS_PEXPIRETIME = redis.REDIS_VERSION_NUM ~= nil
local EXPIRY_SLACK = HAS_PEXPIRETIME and 0 or 2

-- ms since the epoch; -1 without expiry; -2 without key. Rows `said` it.
local function expiryOf(key)
  if HAS_PEXPIRETIME then return redis.call('PEXPIRETIME', key) end
  local left = redis.call('PTTL', key)
  if left < 0 then return left end
  return now() + left
end

local function sameExpiry(one, other)
  if one < 0 or other < 0 then return one == other end
  -- Where the numbers of Lua lie apart, a sum of two readings may be the next one or one further.
  local slack = one < EXACT and EXPIRY_SLACK or one * 2 ^ -51
  return math.abs(one - other) <= slack
end

-- expiry: digits, ms since the epoch, or '-1' for none. One that has passed at `started` removes
-- the key: by UNLINK, for PEXPIREAT would free it then and there, however large it is.
local function setExpiry(key, expiry, started)
  if expiry == '-1' then
    redis.call('PERSIST', key)
  elseif tonumber(expiry) <= started then
    redis.call('UNLINK', key)
  else
    redis.call('PEXPIREAT', key, expiry)
  end
end

-- The server's own name of the type, 'none' without key.
local function typeOf(key)
  return redis.call('TYPE', key).ok
end

-- Whether a key that this row has just written went by that: with its last member, or its expiry
-- having passed. While a Cluster moves the slot away, what is not there is refused instead of being
-- told absent.
local function isGone(key)
  local reply = redis.pcall('EXISTS', key)
  if type(reply) == 'table' and not string.find(reply.err, 'cluster', 1, true) then error(reply) end
  return type(reply) == 'table' or reply == 0
end

local CARDINALITY = { list = 'LLEN', set = 'SCARD', hash = 'HLEN', zset = 'ZCARD', stream = 'XLEN' }

-- Each gives a function that answers with some elements of a collection, as one list of texts, and
-- with their number; `looked` says how many there were so far. Of sets and hashes any, also the
-- same ones. Of the others one at a time, through all of it: what was added at one time is often
-- alike.
local SAMPLED_AT_RANDOM, SAMPLED_IN_ORDER = 20, 10
local function atRandom(command, ...)
  local options = { ... }
  return function(key)
    return function(looked)
      local count = looked == 0 and 1 or math.min(4 * looked, SAMPLED_AT_RANDOM - looked)
      return redis.call(command, key, -count, unpack(options)), count
    end
  end
end
local function byIndex(command)
  return function(key, count, samples)
    return function(looked)
      local index = math.floor((looked + 0.5) * count / samples)
      return redis.call(command, key, index, index), 1
    end
  end
end
-- Only the first ones of a sorted set with many members: it is large in any case, and in one piece
-- each index is looked for from an end.
local SAMPLED_AT_HEAD = 20
local function byRank(key, count, samples)
  if count <= LARGE_ELEMENTS then return byIndex('ZRANGE')(key, count, samples) end
  return function(looked)
    local found = looked == 0 and 1 or SAMPLED_AT_HEAD - 1
    return redis.call('ZRANGE', key, looked, looked + found - 1), found
  end
end
-- By the time in the IDs, for no command knows an index.
local function byTime(key, _, samples)
  local function timeOf(id) return tonumber(string.match(id, '^%d+')) end
  local first = timeOf(redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1][1])
  local last = first
  local stream = redis.call('XINFO', 'STREAM', key)
  for i = 1, #stream, 2 do
    if stream[i] == 'last-generated-id' then last = timeOf(stream[i + 1]) end
  end
  return function(looked)
    local from = digits(math.floor(first + (last - first) * looked / samples))
    local entry = redis.call('XRANGE', key, from, '+', 'COUNT', 1)[1]
    return entry and entry[2] or {}, 1
  end
end
local SAMPLE = {
  list = byIndex('LRANGE'),
  zset = byRank,
  stream = byTime,
  set = atRandom('SRANDMEMBER'),
  hash = atRandom('HRANDFIELD', 'WITHVALUES'),
}
local ELEMENT_OVERHEAD = 64

-- What the groups of a stream take in memory, about. Their number comes first: with many of them
-- the look at all takes long.
local GROUP_BYTES = 280
local function groupBytes(key)
  local stream, bytes = redis.call('XINFO', 'STREAM', key), 0
  for i = 1, #stream, 2 do
    if stream[i] == 'groups' then bytes = GROUP_BYTES * stream[i + 1] end
  end
  if bytes == 0 or bytes > LARGE_BYTES then return bytes end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    for i = 1, #group, 2 do
      if group[i] == 'consumers' or group[i] == 'pending' then bytes = bytes + GROUP_BYTES * group[i + 1] end
    end
  end
  return bytes
end

-- What a collection takes in memory, about, by a few of its elements.
local function sampledBytes(key, kind)
  local count = redis.call(CARDINALITY[kind], key)
  local besides = kind == 'stream' and groupBytes(key) or 0
  if count == 0 or besides > LARGE_BYTES then return besides end
  -- These are large in any case, and to step through a long list takes long.
  if (kind == 'list' or kind == 'stream') and count > LARGE_ELEMENTS then return LARGE_BYTES + 1 end
  local samples = (kind == 'set' or kind == 'hash') and SAMPLED_AT_RANDOM or math.min(SAMPLED_IN_ORDER, count)
  local sample = SAMPLE[kind](key, count, samples)
  local bytes, looked = 0, 0
  -- No more is read than tells that it is large.
  while looked < samples and bytes <= LARGE_BYTES do
    local texts, found = sample(looked)
    for _, text in ipairs(texts) do bytes = bytes + #text end
    looked = looked + found
  end
  return besides + math.ceil(count * (bytes / looked + ELEMENT_OVERHEAD))
end

-- What a collection takes in memory, by so many of its elements. Managed services refuse to say:
-- then it is not asked a second time in this call.
local tellsMemory = true
local function bytesOf(key, kind, samples)
  if tellsMemory then
    local bytes = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', samples)
    if type(bytes) == 'number' then return bytes end
    tellsMemory = false
  end
  return sampledBytes(key, kind)
end

-- How many elements Lua gets when it is given all of a collection. A group or consumer of a stream
-- comes with so much that it counts as several.
local ELEMENTS_WORTH = { pending = 1, consumers = 3 }
local A_GROUP = 3
local function elementsOf(key, kind)
  local count = redis.call(CARDINALITY[kind], key)
  if kind ~= 'stream' then return count end
  local groups = redis.call('XINFO', 'GROUPS', key)
  spend(ELEMENT_WORK * A_GROUP * #groups)
  for _, group in ipairs(groups) do
    count = count + A_GROUP
    for i = 1, #group, 2 do
      local worth = ELEMENTS_WORTH[group[i]]
      if worth then count = count + worth * group[i + 1] end
    end
  end
  return count
end

local SCAN = { hash = 'HSCAN', set = 'SSCAN', zset = 'ZSCAN' }
-- Hashes, sets and sorted sets that are small lie in one piece of memory; how large "small" is, is
-- a setting of the server. SCAN answers with all of it.
local IN_ONE_PIECE = { listpack = true, listpackex = true, ziplist = true, intset = true }
-- Where single fields may expire in such a piece. Valkey, which calls itself a Redis 7.2 as well,
-- has none.
local HAS_EXPIRING_PIECES = (redis.REDIS_VERSION_NUM or 0) >= 0x00070400

-- Whether a hash, set or sorted set of more than a hundred elements lies in one piece, as SCAN
-- shows it: with a pattern that nothing matches, it has come to an end only there, and answers with
-- next to nothing. Of a table it looks at ten places; a piece it goes through, which takes 20 ns a
-- field in Redis 8 and 120 ns in 7.0: 2.4 ms for 20,000 of them, and more than 25 ms from about
-- 100,000 on.
local function scansAtOnce(key, kind)
  return redis.call(SCAN[kind], key, '0', 'MATCH', '', 'COUNT', '1')[1] == '0'
end
local PROBE_WORK = 20
local FEW_ELEMENTS = 100

-- The encoding of a hash, set or sorted set, and the work of finding out. Some services and users
-- may not ask for it: then that which takes the longest to read of those that it may be, or 'table'
-- where it is in no one piece. A few elements count as one: they may end a SCAN as soon.
local tellsEncoding = true
local function encodingOf(key, kind, count)
  if tellsEncoding then
    local encoding = redis.pcall('OBJECT', 'ENCODING', key)
    if type(encoding) == 'string' then return encoding, 0 end
    tellsEncoding = false
  end
  if count <= FEW_ELEMENTS or not scansAtOnce(key, kind) then return 'table', 0 end
  return kind == 'hash' and HAS_EXPIRING_PIECES and 'listpackex' or 'listpack', PROBE_WORK * count
end

-- Where fields expire, a hash may lie in one piece in which each is looked for among all others.
local MOST_EXPIRING_FIELDS = 600
local function isHardToRead(key, kind, count)
  return kind == 'hash'
    and HAS_EXPIRING_PIECES
    and count > MOST_EXPIRING_FIELDS
    and encodingOf(key, kind, count) == 'listpackex'
end

-- The last command with its subcommand, and whether it named a key of ours.
local function describeLastCommand()
  local command, isOwn = lastCommand, false
  for i = 1, 2 do
    local argument = lastArguments[i]
    isOwn = isOwn or type(argument) == 'string' and string.sub(argument, 1, 8) == 'keymend:'
  end
  if HAS_SUBCOMMANDS[command] then command = command .. ' ' .. lastArguments[1] end
  return command, isOwn and 'own' or ''
end

local function given(first, width)
  local bytes = 0
  for i = first, math.min(first + width - 1, #ARGV) do bytes = bytes + #ARGV[i] end
  return bytes
end

-- Calls handle(first) for each row, `first` being its place in ARGV. handle returns the row of the
-- reply and the work it took. An error inside is caught for its row alone.
local function eachRow(width, handle)
  local reply = { now(), 0 }
  local work = 0
  for first = FIRST_ROW, #ARGV, width do
    if work >= WORK_LIMIT then break end
    spent, wrote = 0, ''
    local ok, row, more = pcall(handle, first)
    work = work + ROW_WORK
    if ok then
      work = work + math.max(more, spent)
    else
      work = work + spent + given(first, width)
      local command, own = describeLastCommand()
      row = { 'error', type(row) == 'table' and row.err or tostring(row), command, own, wrote }
    end
    reply[#reply + 1] = row
  end
  reply[2] = operations
  return reply
end
