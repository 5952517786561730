-- Runs one command of a recipe (see recipe.lua) on a key.

-- Where options begin that servers before Redis 7 do not know: how many entries were ever added or
-- read.
local NEW_OPTIONS_AT = { XSETID = 3, ['XGROUP CREATE'] = 4 }

local function lastKnown(command)
  local at = NEW_OPTIONS_AT[command[1]]
  if HAS_PEXPIRETIME or not at or command[at] == 'MKSTREAM' then return #command end
  return at - 1
end

local function runCommand(key, command)
  local name, part = string.match(command[1], '^(%S+) ?(%S*)$')
  local last = lastKnown(command)
  if part == '' then return redis.call(name, key, unpack(command, 2, last)) end
  return redis.call(name, part, key, unpack(command, 2, last))
end
