-- Runs commands on a temporary key.
-- Row in:  temporary key, its size before (see temporary.lua), ms that it lives on, recipe (as in recipe.lua)
-- Row out: {'grown'}, or {'lost'}: it has another size, nothing was done

-- Where options begin that servers before Redis 7 do not know: how many entries were ever added or read.
local NEW_OPTIONS_AT = { XSETID = 3, ['XGROUP CREATE'] = 4 }

local function argumentsOf(command)
  local at = NEW_OPTIONS_AT[command[1]]
  if HAS_PEXPIRETIME or not at or command[at] == 'MKSTREAM' then return unpack(command, 2) end
  return unpack(command, 2, at - 1)
end

local function call(key, command)
  local name, part = string.match(command[1], '^(%S+) ?(%S*)$')
  if part == '' then return redis.call(name, key, argumentsOf(command)) end
  return redis.call(name, part, key, argumentsOf(command))
end

return eachRow(4, function(first)
  local key, recipe = ARGV[first], ARGV[first + 3]
  if temporarySize(key) ~= tonumber(ARGV[first + 1]) then return { 'lost' }, 0 end
  for _, command in ipairs(unpackList(recipe)) do call(key, unpackList(command)) end
  redis.call('PEXPIRE', key, ARGV[first + 2])
  return { 'grown' }, #recipe
end)
