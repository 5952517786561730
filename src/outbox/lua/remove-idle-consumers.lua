-- Removes consumers that were not heard of for long and to whom nothing is assigned. In one step,
-- because removing a consumer forgets what is assigned to it, so nothing may be assigned between
-- looking and removing.
-- KEYS[1]: the stream
-- ARGV:    the group, ms of silence, and the name if only one consumer is meant
-- Returns: how many were removed
--
-- A consumer that lives after all is made again by its next read.

local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end

local removed = 0
for _, consumer in ipairs(consumers) do
  local fields = {}
  for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
  local isMeant = not ARGV[3] or fields.name == ARGV[3]
  if isMeant and fields.pending == 0 and fields.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fields.name)
    removed = removed + 1
  end
end
return removed
