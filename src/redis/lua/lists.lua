-- Lists travel as one argument, each item preceded by its length: '1:a3:xyz'.

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

local function packList(list)
  local parts = {}
  for i = 1, #list do
    local item = tostring(list[i])
    parts[i] = #item .. ':' .. item
  end
  return table.concat(parts)
end
