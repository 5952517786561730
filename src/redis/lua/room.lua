-- A server at maxmemory refuses commands that need memory only until a script has written for the
-- first time: after an UNLINK, HDEL or PEXPIREAT it lets everything through, whatever row that was
-- of. So it is asked in good time.

local fullReply

-- To be called before the first write of a script that may be followed by one that needs memory.
-- Of the row's own key, and without any effect on it. That the key is no string it says when there
-- is room; anything else a write would be told as well.
local function lookForRoom(key)
  if fullReply ~= nil then return end
  local reply = redis.pcall('SETRANGE', key, 0, '')
  local said = type(reply) == 'table' and reply.err or ''
  local isFull = string.find(said, 'OOM', 1, true)
  if said ~= '' and not isFull and not string.find(said, 'WRONGTYPE', 1, true) then error(reply) end
  fullReply = isFull and reply or false
end

-- Raises OOM where nothing may be added.
local function requireRoom()
  if fullReply then error(fullReply) end
end
