-- A digest of a page of what is pending in a group: entry, consumer, times delivered. Reads only.
-- Row in:  key, group, the ID behind which to begin
-- Row out: {entries, digest, ID of the last one}: no entries when none is left

return eachRow(3, function(first)
  local page = pendingPage(ARGV[first], ARGV[first + 1], ARGV[first + 2])
  local parts, last = {}, ARGV[first + 2]
  for _, pending in ipairs(page) do
    last = pending[1]
    for _, part in ipairs({ last, pending[2], pending[4] }) do parts[#parts + 1] = part end
  end
  return { #page, redis.sha1hex(packList(parts)), last }, #page
end)
