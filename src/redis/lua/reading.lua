-- What does each key hold, unless the other side is known to hold the same? Reads only; all of one
-- key at one moment.
-- Row in:  key, its digest on the other side ('' without key), its type there
-- Row out: {type, digest, expiry, content, value, soonest}; {'none', '', -2, '', '', -1} without
--          key; {type, 'large', expiry, '', '', -1} of a large value. `value` is '' when the digest
--          is the known one: equal, so the value need not travel. `content` is the content digest
--          when the types agree and the digests do not, else '': only then can it help. `soonest`:
--          when the first of its fields expires, in ms since the epoch; -1: none does, or no value
--          travels.
--
-- valueOf(key, kind): the value in the form that the script is for, and the work it took.

local function readEach(valueOf)
  return eachRow(3, function(first)
    local key, knownDigest, knownType = ARGV[first], ARGV[first + 1], ARGV[first + 2]
    local digest, size, kind = fingerprint(key)
    if kind == 'none' then return { 'none', '', NO_KEY, '', '', -1 }, 0 end
    local expiry = said(expiryOf(key))
    if digest == knownDigest or digest == LARGE then return { kind, digest, expiry, '', '', -1 }, size end
    local value, more = valueOf(key, kind)
    local content, work = '', 0
    if kind == knownType then content, work = contentDigest(key, kind, size) end
    local soonest, elements = -1, 0
    if kind == 'hash' then soonest, elements = soonestExpiry(key) end
    return { kind, digest, expiry, content, value, said(soonest) }, size + more + work + ELEMENT_WORK * elements
  end)
end
