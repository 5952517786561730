-- What does each key hold, unless the other side is known to hold the same? Reads only; all of one
-- key at one moment.
-- Row in:  key, its digest on the other side ('' without key), its type there
-- Row out: {'type digest expiry content soonest', value}, or the text alone where no value travels:
--          the digest is the known one, or 'large'; 'none  -2  -1' without key. `content` is ''
--          but when the types agree and the digests do not: then the content digest, or 'different'
--          where the digests prove that already. `soonest`: when the first of its fields expires,
--          in ms since the epoch; -1: none does, or no value travels.
--
-- valueOf(key, kind): the value in the form that the script is for, and the work it took.

local function readEach(valueOf)
  return eachRow(3, function(first)
    local key, knownDigest, knownType = ARGV[first], ARGV[first + 1], ARGV[first + 2]
    local digest, size, kind = fingerprint(key)
    if kind == 'none' then return 'none  -2  -1', 0 end
    local expiry = inText(expiryOf(key))
    if digest == knownDigest or digest == LARGE or isOfSameDump(digest, knownDigest) then
      return kind .. ' ' .. digest .. ' ' .. expiry .. '  -1', size
    end
    local value, more = valueOf(key, kind)
    local content, work = '', 0
    if kind == knownType then
      content = DIFFERENT
      if not provesDifference(kind, digest, knownDigest) then content, work = contentDigest(key, kind, size) end
    end
    -- For the second look: on one server it stays the same, and is cheaper.
    if isOfContent(digest) then digest = digestOfDump(key, kind) end
    local soonest, elements = -1, 0
    if kind == 'hash' then soonest, elements = soonestExpiry(key) end
    local state = kind .. ' ' .. digest .. ' ' .. expiry .. ' ' .. content .. ' ' .. inText(soonest)
    return { state, value }, size + more + work + ELEMENT_WORK * elements
  end)
end
