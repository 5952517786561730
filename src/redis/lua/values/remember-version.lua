-- Remembers which version its row has, for whoever fills the key. Executed twice or late, it does
-- no harm: a lower one never replaces a higher one.
-- Row in:  key of the version; the version, in digits of one length; for how long, in ms
-- Row out: {'remembered'}, or {'behind'} where a higher one is known

return eachRow(3, function(first)
  local name, version, ms = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  -- Users who may repair keys may not GET.
  local known = redis.call('GETRANGE', name, 0, -1)
  if known > version then return { 'behind' }, 0 end
  if known < version then
    redis.call('SET', name, version, 'PX', ms)
    return { 'remembered' }, 0
  end
  -- An application whose replicas lag for longer may have told of it for longer.
  local before = expiryOf(name)
  redis.call('PEXPIRE', name, ms)
  if expiryOf(name) < before then redis.call('PEXPIREAT', name, inText(before)) end
  return { 'remembered' }, 0
end)
