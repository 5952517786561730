-- Appends a range of another key on this server to a temporary key.
-- Row in:  temporary key, its size before (see temporary.lua), ms that it lives on
--          key and range: index of the first and the last element of a list; ID behind which to
--          begin and last ID of a stream, whose entries each fit into one command of a script
-- Row out: {'grown'}, or {'lost'}: it has another size, or the other key no longer has the range;
--          nothing was done

return eachRow(6, function(first)
  local temporary, key, from, to = ARGV[first], ARGV[first + 3], ARGV[first + 4], ARGV[first + 5]
  if temporarySize(temporary) ~= tonumber(ARGV[first + 1]) then return { 'lost' }, 0 end
  local kind = typeOf(key)
  if kind == 'list' then
    local elements = redis.call('LRANGE', key, from, to)
    if #elements == 0 then return { 'lost' }, 0 end
    redis.call('RPUSH', temporary, unpack(elements))
  elseif kind ~= 'stream' then
    return { 'lost' }, 0
  else
    for _, entry in ipairs(redis.call('XRANGE', key, behind(from), to)) do
      redis.call('XADD', temporary, entry[1], unpack(entry[2]))
    end
  end
  redis.call('PEXPIRE', temporary, ARGV[first + 2])
  return { 'grown' }, 0
end)
