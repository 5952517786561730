-- What state is each key in? Reads only.
-- Row in:  key
-- Row out: {type, digest, expiry}: the key's fingerprint and absolute expiry; {'none', '', -2}
--          without key; the digest of a large value is 'large'.

return eachRow(1, function(first)
  local key = ARGV[first]
  local digest, size, kind = fingerprint(key)
  return { kind, digest, kind == 'none' and NO_KEY or said(expiryOf(key)) }, size
end)
