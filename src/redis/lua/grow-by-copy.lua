-- Appends a range of another key on this server to a temporary key.
-- Row in:  temporary key, its size before (see temporary.lua), ms that it lives on
--          key and range: index of the first and the last element of a list; ID behind which to
--          begin and last ID of a stream
-- Row out: {'grown'}, or {'lost'}: it has another size, nothing was done

return eachRow(6, function(first)
  local temporary, key, from, to = ARGV[first], ARGV[first + 3], ARGV[first + 4], ARGV[first + 5]
  if temporarySize(temporary) ~= tonumber(ARGV[first + 1]) then return { 'lost' }, 0 end
  if typeOf(key) == 'list' then
    redis.call('RPUSH', temporary, unpack(redis.call('LRANGE', key, from, to)))
  else
    for _, entry in ipairs(redis.call('XRANGE', key, '(' .. from, to)) do
      redis.call('XADD', temporary, entry[1], unpack(entry[2]))
    end
  end
  redis.call('PEXPIRE', temporary, ARGV[first + 2])
  return { 'grown' }, 0
end)
