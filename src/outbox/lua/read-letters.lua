-- Reads entries of a dead-letter stream, as many as one page may have. Changes nothing.
-- KEYS[1]: the stream
-- ARGV:    from which ID on, up to which; how many entries and how many bytes: with the entry that
--          reaches either the page ends
-- Returns: as XRANGE
--
-- One at a time, for how large an entry is only its reply says.

local from, to, count, room = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local page = {}
while #page < count and room > 0 do
  local entry = redis.call('XRANGE', KEYS[1], from, to, 'COUNT', 1)[1]
  if not entry then break end
  page[#page + 1] = entry
  for _, part in ipairs(entry[2]) do room = room - #part end
  from = '(' .. entry[1]
end
return page
