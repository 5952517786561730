-- One page of a hash, set or sorted set. Reads only.
-- Row in:  key, type, cursor ('0' at the beginning), count (at most about so many; fewer where the
--          members are large)
-- Row out: {cursor, members (packed), digests}: the next cursor, '0' at the end, '' when the key
--          is not of that type any more, 'lost' when it has changed so much that its pages do not
--          join; each member's digest, 40 characters and no separator, '' where the members turn
--          out to be so large that they are to be asked for some at a time
--          {'piece', encoding, elements, bytes}: SCAN would answer with all of it

local PAGE_BYTES = 262144
-- So many members tell how large they are on average.
local SAMPLES = 100
-- A few large ones among many small ones hardly show in it.
local MOST_DIGESTED = 1048576

local function cellDigests(kind, key, members, answers)
  local cells, work, bytes = {}, 0, 0
  for i = 1, #members do
    if kind == 'hash' then bytes = bytes + #answers[i] end
  end
  if bytes > MOST_DIGESTED and #members > 1 then return '', 2 * bytes end
  for i = 1, #members do
    cells[i] = cellFrom(kind, answers[i])
    work = work + ELEMENT_WORK + #members[i] + 2 * #cells[i]
  end
  if kind == 'hash' and HAS_FIELD_EXPIRY and #members > 0 then
    for first = 1, #members, FIELDS_PER_CALL do
      addFieldExpiries(key, members, cells, first, math.min(first + FIELDS_PER_CALL - 1, #members))
    end
  end
  for i = 1, #cells do cells[i] = redis.sha1hex(cells[i]) end
  return table.concat(cells), work
end

-- {member, value, member, value, …}; of a set members alone, and what is asked is whether they are
-- there.
local function split(kind, flat)
  if kind ~= 'set' then
    local members, answers = {}, {}
    for i = 1, #flat, 2 do members[#members + 1], answers[#answers + 1] = flat[i], flat[i + 1] end
    return members, answers
  end
  local answers = {}
  for i = 1, #flat do answers[i] = 1 end
  return flat, answers
end

-- A sorted set in one piece is read by rank. The cursor has the rank of the member before the page
-- and its digest: members that keep their scores keep their order, so where that one is, the next
-- page begins. A few ranks off are looked through. To get to a rank the server steps over all
-- before it: with more members than so many, each page would take 5 ms and more.
local NEARBY = 200
local MOST_BY_RANK = 250000

local function afterAnchor(key, cursor)
  local rank, anchor = string.match(cursor, '^(%d+)%-(%x+)$')
  if not rank then return 0 end
  local from = math.max(0, rank - NEARBY)
  local ranks = { from = rank, to = rank }
  for _ = 1, 2 do
    local near = redis.call('ZRANGE', key, ranks.from, ranks.to, 'WITHSCORES')
    for i = 1, #near, 2 do
      if redis.sha1hex(near[i] .. cellFrom('zset', near[i + 1])) == anchor then return ranks.from + (i + 1) / 2 end
    end
    ranks = { from = from, to = rank + NEARBY }
  end
  return nil
end

local function pageByRank(key, cursor, count)
  local start = afterAnchor(key, cursor)
  if not start then return 'lost', {} end
  local page = redis.call('ZRANGE', key, start, start + count - 1, 'WITHSCORES')
  if #page < 2 * count then return '0', page end
  local anchor = redis.sha1hex(page[#page - 1] .. cellFrom('zset', page[#page]))
  return string.format('%d-%s', start + count - 1, anchor), page
end

return eachRow(4, function(first)
  local key, kind, cursor = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  if typeOf(key) ~= kind then return { '', '', '' }, 0 end
  local elements = redis.call(CARDINALITY[kind], key)
  local bytes = bytesOf(key, kind, SAMPLES)
  -- SCAN reads values, too, whatever their size: by their mean, so many fit into a page.
  local count = math.max(1, math.min(tonumber(ARGV[first + 3]), math.floor(PAGE_BYTES * elements / bytes)))
  local encoding = (elements > SMALL_PIECE or bytes > PAGE_BYTES) and encodingOf(key, kind, elements)
  local inPiece = IN_ONE_PIECE[encoding]
  if inPiece and (kind ~= 'zset' or elements > MOST_BY_RANK) then return { 'piece', encoding, elements, bytes }, 0 end
  local page
  if kind == 'zset' and (inPiece or string.find(cursor, '-', 1, true)) then
    cursor, page = pageByRank(key, cursor, count)
  else
    cursor, page = unpack(redis.call(SCAN[kind], key, cursor, 'COUNT', count))
  end
  local members, answers = split(kind, page)
  local digests, work = cellDigests(kind, key, members, answers)
  return { cursor, packList(members), digests }, work
end)
