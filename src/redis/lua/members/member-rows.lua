-- What are some members of each key like? Reads only; all of one key at one moment.
-- Row in:  key, members (packed)
-- Row out: {type, expiry, count, cell, cell, …}: how many elements or bytes the key has, below 0
--          where it is large or not known, see countOf; one cell for each member, as the script
--          says, '' for one that is not there; fewer cells than members where all cost too much at
--          once, but one at least; {'none', -2, 0, '', …} without key.
--
-- written(cell): what the script says of a cell (see members.lua).

local function memberRows(written)
  return eachRow(2, function(first)
    local key = ARGV[first]
    local members = unpackList(ARGV[first + 1])
    local kind = typeOf(key)
    local cells, size = cellsOf(kind, key, members, MEMBERS_WORK)
    local row = { kind, kind == 'none' and NO_KEY or said(expiryOf(key)), countOf(kind, key) }
    for i = 1, #cells do row[i + 3] = written(cells[i]) end
    return row, size
  end)
end
