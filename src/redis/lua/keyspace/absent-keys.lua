-- Which of these keys are not here, or not of that type? Reads only.
-- Row in:  keys (packed), a type ('' for any)
-- Row out: {those (packed)}

return eachRow(2, function(first)
  local kind = string.lower(ARGV[first + 1])
  local function isHere(key)
    if kind == '' then return redis.call('EXISTS', key) == 1 end
    -- As SCAN takes a type.
    return string.lower(typeOf(key)) == kind
  end
  local absent = {}
  for _, key in ipairs(unpackList(ARGV[first])) do
    if not isHere(key) then absent[#absent + 1] = key end
  end
  return { packList(absent) }, 0
end)
