-- A digest of some elements of a list, in their order. Reads only.
-- Row in:  key, index of the first, how many at most
-- Row out: {elements, bytes, digest}: fewer than asked for where the list ends before, or the range
--          got large (see ranges.lua)

return eachRow(3, function(first)
  local elements, bytes = listRange(ARGV[first], tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2]))
  return { #elements, bytes, redis.sha1hex(packList(elements)) }, bytes
end)
