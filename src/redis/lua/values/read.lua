-- Rows as in reading.lua, the value being the DUMP.

return readEach(function(key, _, digest)
  if isDump(digest) then return '', 0 end
  if dumped then return dumped, 0 end
  dumped = redis.call('DUMP', key)
  return dumped, spend(#dumped)
end)
