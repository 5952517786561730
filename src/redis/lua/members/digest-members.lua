-- Digests of some members, as those of scan-members.lua. Reads only.
-- Row in:  key, type, members (packed)
-- Row out: {digests, how many}: of the first members, fewer than all where that costs too much at
--          once; {'', 0} when the key is not of that type any more

return eachRow(3, function(first)
  local key, kind = ARGV[first], ARGV[first + 1]
  if typeOf(key) ~= kind then return { '', 0 }, 0 end
  local cells, work = cellsOf(kind, key, unpackList(ARGV[first + 2]), MEMBERS_WORK)
  for i = 1, #cells do cells[i] = redis.sha1hex(cells[i]) end
  return { table.concat(cells), #cells }, work
end)
