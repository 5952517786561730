-- The list that pack.lua, or packed.ts, has made one text of.

local function unpackList(packed)
  local list, at = {}, 1
  while at <= #packed do
    local colon = string.find(packed, ':', at, true)
    local length = tonumber(string.sub(packed, at, colon - 1))
    list[#list + 1] = string.sub(packed, colon + 1, colon + length)
    at = colon + length + 1
  end
  return list
end
