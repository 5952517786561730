-- Deletes entries of a dead-letter stream and, if at least one of them was there, appends another
-- in their place. In one step: a letter that is put back is there once, whoever dies.
-- KEYS[1]: the stream
-- ARGV:    how many entries were deleted for it by earlier calls; how many are to be deleted, their
--          IDs; then fields and values of the one to be appended, if one is
-- Returns: how many were deleted
--
-- Sent twice, the second time finds nothing to delete and appends nothing.

local earlier = tonumber(ARGV[1])
local count = tonumber(ARGV[2])
local deleted = 0
for at = 3, count + 2 do
  deleted = deleted + redis.call('XDEL', KEYS[1], ARGV[at])
end
if earlier + deleted > 0 and #ARGV > count + 2 then
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, count + 3))
end
return deleted
