-- A digest of some bytes of a string. Reads only.
-- Row in:  key, first byte, last byte
-- Row out: {bytes, digest}: fewer bytes than asked for where the string ends before

return eachRow(3, function(first)
  local bytes = redis.call('GETRANGE', ARGV[first], ARGV[first + 1], ARGV[first + 2])
  return { #bytes, redis.sha1hex(bytes) }, #bytes
end)
