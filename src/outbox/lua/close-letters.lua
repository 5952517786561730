-- Deletes entries of a dead-letter stream and, if at least one of them was there, appends another
-- in their place. In one step: a letter that is put back is there once, whoever dies.
-- KEYS[1]: the stream
-- ARGV:    how many entries are to be deleted, their IDs; then fields and values of the one to be
--          appended, if one is
-- Returns: how many were deleted
--
-- Sent twice, the second time finds nothing to delete and appends nothing.

local count = tonumber(ARGV[1])
local deleted = 0
for at = 2, count + 1 do
  deleted = deleted + redis.call('XDEL', KEYS[1], ARGV[at])
end
if deleted > 0 and #ARGV > count + 1 then
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, count + 2))
end
return deleted
