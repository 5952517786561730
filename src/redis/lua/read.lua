-- Rows as in reading.lua, the value being the DUMP.

return readEach(function(key)
  if dumped then return dumped, 0 end
  dumped = redis.call('DUMP', key)
  return dumped, spend(#dumped)
end)
