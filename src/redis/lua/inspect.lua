-- What state is each key in? Reads only.
-- Row in:  key, 'dump' for a digest as reading.lua answers it, else ''
-- Row out: 'type digest expiry': the key's fingerprint and absolute expiry; 'none  -2' without key;
--          the digest of a large value is 'large'. One text, which costs half of what a list does.

return eachRow(2, function(first)
  local key = ARGV[first]
  local digest, size, kind = fingerprint(key, ARGV[first + 1] == 'dump')
  return kind .. ' ' .. digest .. ' ' .. (kind == 'none' and NO_KEY or inText(expiryOf(key))), size
end)
