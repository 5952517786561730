-- Runs one command of a recipe (see recipe.lua) on a key, with its arguments up to the one at
-- `last`; without `last` all of them.

local function runCommand(key, command, last)
  local name, part = string.match(command[1], '^(%S+) ?(%S*)$')
  if part == '' then return redis.call(name, key, unpack(command, 2, last)) end
  return redis.call(name, part, key, unpack(command, 2, last))
end
