-- What does each key hold, unless the other side is known to hold the same? Reads only; all of one
-- key at one moment.
-- Row in:  key, its digest on the other side ('' without key), its type there
-- Row out: {type, digest, expiry, content, value}; {'none', '', -2, '', ''} without key; {type,
--          'large', expiry, '', ''} of a large value. `value` is '' when the digest is the known
--          one: equal, so the value need not travel. `content` is the content digest when the types
--          agree and the digests do not, else '': only then can it help.
--
-- valueOf(key, kind): the value in the form that the script is for, and the bytes of it that
-- `fingerprint` has not gone through.

local function readEach(valueOf)
  return eachRow(3, function(first)
    local key, knownDigest, knownType = ARGV[first], ARGV[first + 1], ARGV[first + 2]
    local digest, size, kind = fingerprint(key)
    if kind == 'none' then return { 'none', '', NO_KEY, '', '' }, 0 end
    local expiry = expiryOf(key)
    if digest == knownDigest or digest == LARGE then return { kind, digest, expiry, '', '' }, size end
    local value, more = valueOf(key, kind)
    local content = kind == knownType and contentDigest(key, kind) or ''
    return { kind, digest, expiry, content, value }, size + more
  end)
end
