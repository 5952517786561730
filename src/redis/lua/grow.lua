-- Runs commands on a temporary key.
-- Row in:  temporary key, its size before (see temporary.lua), ms that it lives on, recipe (as in
--          recipe.lua)
-- Row out: {'grown'}, or {'lost'}: it has another size, nothing was done

-- Where options begin that servers before Redis 7 do not know: how many entries were ever added or
-- read.
local NEW_OPTIONS_AT = { XSETID = 3, ['XGROUP CREATE'] = 4 }

local function lastKnown(command)
  local at = NEW_OPTIONS_AT[command[1]]
  if HAS_PEXPIRETIME or not at or command[at] == 'MKSTREAM' then return #command end
  return at - 1
end

return eachRow(4, function(first)
  local key, recipe = ARGV[first], ARGV[first + 3]
  if temporarySize(key) ~= tonumber(ARGV[first + 1]) then return { 'lost' }, 0 end
  for _, packed in ipairs(unpackList(recipe)) do
    local command = unpackList(packed)
    runCommand(key, command, lastKnown(command))
  end
  redis.call('PEXPIRE', key, ARGV[first + 2])
  return { 'grown' }, #recipe
end)
