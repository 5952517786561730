-- One page of a hash, set or sorted set, as SCAN's cursor gives it. Reads only. One row only.
-- Row in:  key, type, cursor, count (SCAN's COUNT)
-- Row out: {server, cursor, members (packed), digests, bytes}: who answers, for a cursor means nothing to another server; the next
--          cursor, '0' at the end; each member's digest, 40 characters and no separator; how much was gone through. '' in the
--          place of the server when the key is not of that type any more.

local SCAN = { hash = 'HSCAN', set = 'SSCAN', zset = 'ZSCAN' }

local function serverId()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

return eachRow(4, function(first)
  local key, kind, cursor = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  if typeOf(key) ~= kind then return { '', '0', '', '', 0 }, 0 end
  local page = redis.call(SCAN[kind], key, cursor, 'COUNT', ARGV[first + 3])
  local members, step = {}, kind == 'set' and 1 or 2
  for i = 1, #page[2], step do members[#members + 1] = page[2][i] end
  local cells, size = cellsOf(kind, key, members)
  for i = 1, #cells do cells[i] = redis.sha1hex(cells[i]) end
  return { serverId(), page[1], packList(members), table.concat(cells), size }, size
end)
