-- A page of what is pending in a group. Reads only.
-- Row in:  key, group, the ID behind which to begin
-- Row out: {id, consumer, idle ms, times delivered, 1 if the stream still has the entry else 0, …}:
--          five cells for each; none when none is left. The page ends early when it has gone
--          through large entries.

return eachRow(3, function(first)
  local key = ARGV[first]
  local row, bytes = {}, 0
  for _, pending in ipairs(pendingPage(key, ARGV[first + 1], ARGV[first + 2])) do
    local id = pending[1]
    local entry = redis.call('XRANGE', key, id, id)[1]
    for i = 1, 4 do row[#row + 1] = i > 2 and said(pending[i]) or pending[i] end
    row[#row + 1] = entry and 1 or 0
    for _, text in ipairs(entry and entry[2] or {}) do bytes = bytes + #text end
    if bytes >= RANGE_BYTES then break end
  end
  return row, bytes
end)
