-- What do some members of each key hold? Reads only; all of one key at one moment.
-- Row in:  key, members (packed)
-- Row out: {type, expiry, count, cell, cell, …}: the count as in inspect-members.lua; cells as in members.lua, ''
--          for a member that is not there

return eachRow(2, function(first)
  local key = ARGV[first]
  local members = unpackList(ARGV[first + 1])
  local kind = typeOf(key)
  local cells, size = cellsOf(kind, key, members)
  local row = { kind, kind == 'none' and NO_KEY or expiryOf(key), countOf(kind, key) }
  for i = 1, #cells do row[i + 3] = cells[i] end
  return row, size
end)
