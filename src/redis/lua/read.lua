-- Rows as in reading.lua, the value being the DUMP.

return readEach(function(key, kind)
  if kind == 'string' then
    local dump = redis.call('DUMP', key)
    return dump, redis.call('STRLEN', key)
  end
  return dumped, 0
end)
