-- Does SCAN answer with all of a hash, set or sorted set at once? Reads only.
-- Row in:  key
-- Row out: {1 or 0}

return eachRow(1, function(first)
  local key = ARGV[first]
  local encoding, _, work = pieceOf(typeOf(key), key)
  return { encoding and 1 or 0 }, work
end)
