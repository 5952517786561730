-- One page of a hash, set or sorted set, as SCAN's cursor gives it. Reads only.
-- Row in:  key, type, cursor, count (SCAN's COUNT at most; fewer where the members are large)
-- Row out: {cursor, members (packed), digests}: the next cursor, '0' at the end, '' when the key is
--          not of that type any more; each member's digest, 40 characters and no separator

local SCAN = { hash = 'HSCAN', set = 'SSCAN', zset = 'ZSCAN' }
local PAGE_BYTES = 262144
-- So many members tell how large they are on average.
local SAMPLES = 100

-- SCAN reads values, too, whatever their size: by their mean, so many fit into a page.
local function fitting(kind, key)
  local bytes = redis.call('MEMORY', 'USAGE', key, 'SAMPLES', SAMPLES) / redis.call(CARDINALITY[kind], key)
  return math.max(1, math.floor(PAGE_BYTES / bytes))
end

return eachRow(4, function(first)
  local key, kind, cursor = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  if typeOf(key) ~= kind then return { '', '', '' }, 0 end
  local count = math.min(tonumber(ARGV[first + 3]), fitting(kind, key))
  local page = redis.call(SCAN[kind], key, cursor, 'COUNT', count)
  local members, step = {}, kind == 'set' and 1 or 2
  for i = 1, #page[2], step do members[#members + 1] = page[2][i] end
  local cells, size = cellsOf(kind, key, members)
  for i = 1, #cells do cells[i] = redis.sha1hex(cells[i]) end
  return { page[1], packList(members), table.concat(cells) }, size
end)
