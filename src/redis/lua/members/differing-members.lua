-- Which members of a page from the other side are not the same here? Reads only.
-- Row in:  key, type, members (packed), digests (as in scan-members.lua)
-- Row out: {members (packed), compared}: those that differ or are not here; all of them when the
--          key is not here or of another type; and how many of the page were compared, the first
--          ones: fewer than all where that costs too much at once

return eachRow(4, function(first)
  local key, kind, digests = ARGV[first], ARGV[first + 1], ARGV[first + 3]
  local members = unpackList(ARGV[first + 2])
  local cells, work = cellsOf(typeOf(key) == kind and kind or 'none', key, members, MEMBERS_WORK)
  local differing = {}
  for i = 1, #cells do
    if redis.sha1hex(cells[i]) ~= string.sub(digests, 40 * i - 39, 40 * i) then differing[#differing + 1] = members[i] end
  end
  return { packList(differing), #cells }, work
end)
