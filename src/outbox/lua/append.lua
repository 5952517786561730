-- Appends entries to a stream that is bounded without ever being trimmed: all of them, or none when
-- they do not fit.
-- KEYS[1]: the stream
-- KEYS[2]: only for a single entry that has a name: the names of the last entries
-- ARGV:    how many entries the stream may have, how many there are to append; then for each entry
--          the number of its fields and values together, then these; behind all the name
-- Returns: {'appended' | 'full', entries in the stream now, what was set aside}
--
-- What else than a stream is found under a key of ours is set aside under a name that is returned
-- ('': nothing was): it must not keep records from being taken. Other keys are an application's.
--
-- Sent twice, because the first answer was lost, it appends twice: readers know an entry by what is
-- in it. One with a name is appended once, also when it was deleted since. As many names are kept
-- as the stream may have entries, until none has come for 30 days.

local setAside = ''
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'stream' and string.sub(KEYS[1], 1, 8) == 'keymend:' then
  setAside = KEYS[1] .. ':set-aside-' .. table.concat(redis.call('TIME'), '-')
  redis.call('RENAME', KEYS[1], setAside)
end

local limit, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local present = redis.call('XLEN', KEYS[1])
local name = KEYS[2] and ARGV[#ARGV]
-- Should something else stand there, the entry matters more than its name.
if name and type(redis.pcall('ZSCORE', KEYS[2], name)) == 'string' then
  return { 'appended', present, setAside }
end
if present + count > limit then return { 'full', present, setAside } end

local at = 3
for _ = 1, count do
  local width = tonumber(ARGV[at])
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, at + 1, at + width))
  at = at + 1 + width
end
if name then
  redis.pcall('ZADD', KEYS[2], redis.call('TIME')[1], name)
  redis.pcall('ZREMRANGEBYRANK', KEYS[2], 0, -limit - 1)
  redis.pcall('EXPIRE', KEYS[2], 30 * 24 * 3600)
end
return { 'appended', present + count, setAside }
