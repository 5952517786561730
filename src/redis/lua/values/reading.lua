-- What does each key hold, unless the other side is known to hold the same? Reads only; all of one
-- key at one moment.
-- Row in:  key, its digest on the other side ('' without key), its type there; both '' where the
--          caller compares a small value's DUMP by itself
-- Row out: the state alone, as `stateOf` has it, where no value travels beside it: the digest is
--          the known one, or 'large', or there is no key, or nothing was known;
--          else {state, content, soonest, value}. `content` is '' but when the types agree and the
--          digests do not: then the content digest, or 'different' where the digests prove that
--          already. `soonest`: when the first of its fields expires, in ms since the epoch; -1:
--          none does. `value`: '' where it is the DUMP that the state has.
--
-- valueOf(key, kind, digest): the value in the form that the script is for, and the work it took.

local function readEach(valueOf)
  return eachRow(3, function(first)
    local key, knownDigest, knownType = ARGV[first], ARGV[first + 1], ARGV[first + 2]
    local digest, size, kind = fingerprint(key)
    local state = stateOf(key, digest, kind)
    if kind == 'none' or digest == LARGE or isOfSameDump(digest, knownDigest) then return state, size end
    local value, more = valueOf(key, kind, digest)
    local content, work = '', 0
    if knownType ~= '' and (kind or typeOf(key)) == knownType then
      content = DIFFERENT
      if not provesDifference(digest, knownDigest) then
        content, work = contentDigest(key, knownType, size, isOfRow(knownDigest))
      end
    end
    if value == '' and knownDigest == '' then return state, size end
    local soonest, elements = -1, 0
    if kind == 'hash' then soonest, elements = soonestExpiry(key) end
    return { state, content, inText(soonest), value }, size + more + work + ELEMENT_WORK * elements
  end)
end
