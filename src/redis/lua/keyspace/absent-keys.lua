-- Which of these keys are not here? Reads only.
-- Row in:  keys (packed)
-- Row out: {those (packed)}

return eachRow(1, function(first)
  local absent = {}
  for _, key in ipairs(unpackList(ARGV[first])) do
    if redis.call('EXISTS', key) == 0 then absent[#absent + 1] = key end
  end
  return { packList(absent) }, 0
end)
