-- What state are some members of each key in? Reads only.
-- Row in:  key, members (packed)
-- Row out: {type, expiry, count, digest, digest, …}: how many elements the key has, see countOf; one digest for each member, ''
--          for one that is not there; {'none', -2, 0, '', …} without key.

return eachRow(2, function(first)
  local key = ARGV[first]
  local members = unpackList(ARGV[first + 1])
  local kind = typeOf(key)
  local cells, size = cellsOf(kind, key, members)
  local row = { kind, kind == 'none' and NO_KEY or expiryOf(key), countOf(kind, key) }
  for i = 1, #cells do row[i + 3] = cellDigest(cells[i]) end
  return row, size
end)
