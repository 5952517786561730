-- A digest of some entries of a stream with their IDs. Reads only.
-- Row in:  key, the ID behind which to begin, the last ID or '+', how many at most
-- Row out: {entries, bytes, digest, ID of the last one, fields and values of the longest one}:
--          fewer than asked for where there are no more, or the range gets large (see ranges.lua)

return eachRow(4, function(first)
  local after = ARGV[first + 1]
  local entries, bytes = streamRange(ARGV[first], after, ARGV[first + 2], tonumber(ARGV[first + 3]))
  local parts, longest = {}, 0
  for _, entry in ipairs(entries) do
    parts[#parts + 1] = entry[1]
    parts[#parts + 1] = #entry[2]
    longest = math.max(longest, #entry[2])
    for _, text in ipairs(entry[2]) do parts[#parts + 1] = text end
  end
  local last = #entries > 0 and entries[#entries][1] or after
  return { #entries, bytes, redis.sha1hex(packList(parts)), last, longest }, bytes
end)
