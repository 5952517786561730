-- Runs commands on a temporary key.
-- Row in:  temporary key, its size before (see temporary.lua), ms that it lives on, recipe (as in
--          recipe.lua)
-- Row out: {'grown'}, or {'lost'}: it has another size, nothing was done

return eachRow(4, function(first)
  local key, recipe = ARGV[first], ARGV[first + 3]
  if temporarySize(key) ~= tonumber(ARGV[first + 1]) then return { 'lost' }, 0 end
  for _, packed in ipairs(unpackList(recipe)) do
    local command = unpackList(packed)
    runCommand(key, command)
  end
  redis.call('PEXPIRE', key, ARGV[first + 2])
  return { 'grown' }, #recipe
end)
