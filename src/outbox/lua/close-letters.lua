-- Deletes entries of a dead-letter stream and, if at least one of them was there, appends another
-- in their place. In one step: a letter that is put back is there once, whoever dies.
-- KEYS[1]: the stream
-- ARGV:    how many are to be deleted, their IDs; then fields and values of the one to be appended,
--          if one is
-- Returns: how many were deleted
--
-- Sent twice, the second time finds nothing to delete and appends nothing.
--
-- A script that fails in its midst has done what stands above: so it appends before it deletes, and
-- takes that back when there was nothing to delete. That it may delete is asked before both.

local count = tonumber(ARGV[1])
local appended
if #ARGV > count + 1 then
  redis.call('XDEL', KEYS[1], '0-0')
  appended = redis.call('XADD', KEYS[1], '*', unpack(ARGV, count + 2))
end
local deleted = 0
for at = 2, count + 1 do
  deleted = deleted + redis.call('XDEL', KEYS[1], ARGV[at])
end
if appended and deleted == 0 then redis.call('XDEL', KEYS[1], appended) end
return deleted
