-- Rows as in reading.lua, the value being the DUMP.

return readEach(function(key) return redis.call('DUMP', key), 0 end)
