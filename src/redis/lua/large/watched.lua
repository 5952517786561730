-- What is a watched key like, in as far as it takes no time to say? Reads only.
-- Row in:  key
-- Row out: {type, expiry, size, groups}: its bytes (string), elements (list) or entries (stream), 0
--          for other types; `groups` as in groups.lua. {'none', -2, 0, ''} without key.

local SIZE = { string = 'STRLEN', list = 'LLEN', stream = 'XLEN' }

return eachRow(1, function(first)
  local key = ARGV[first]
  local kind = typeOf(key)
  local size = SIZE[kind] and redis.call(SIZE[kind], key) or 0
  return { kind, kind == 'none' and NO_KEY or said(expiryOf(key)), size, groupsFence(key) }, 0
end)
