-- packList(list): its items as one text, each preceded by its length: '1:a3:xyz'. So lists travel
-- as one argument (see unpack.lua), and so they are digested, for no two of them read the same.

-- Writing a number is the costliest step of packing small things: each length is written once per
-- call.
local lengthPrefix = setmetatable({}, {
  __index = function(prefixes, length)
    local prefix = length .. ':'
    prefixes[length] = prefix
    return prefix
  end,
})

local function packList(list)
  -- Put together once: each text that Lua makes costs as much as a small command.
  local parts = {}
  for i = 1, #list do
    local item = list[i]
    -- Lua alone would write 14 digits of a number.
    item = type(item) == 'number' and item >= 1e14 and digits(item) or item .. ''
    parts[2 * i - 1], parts[2 * i] = lengthPrefix[#item], item
  end
  return table.concat(parts)
end
