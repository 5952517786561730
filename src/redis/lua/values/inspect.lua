-- What state is each key in? Reads only.
-- Row in:  key
-- Row out: a text as `stateOf` has it: fingerprint and absolute expiry.

return eachRow(1, function(first)
  local key = ARGV[first]
  local digest, size, kind = fingerprint(key)
  return stateOf(key, digest, kind), size
end)
