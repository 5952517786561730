-- Remembers which version its row has, for whoever fills the key. Executed twice or late, it does
-- no harm: a lower one never replaces a higher one.
-- Row in:  key of the version; the version, in digits of one length; for how long, in ms
-- Row out: {'remembered'}, or {'behind'} where a higher one is known

-- What is there, '' for nothing. A name that holds what no version is, is freed for ours: else its
-- key would never be repaired again.
local function knownVersion(name, digitsOfOurs)
  -- Users who may repair keys may not GET. One byte more than a version has: it may be anything.
  local known = redis.pcall('GETRANGE', name, 0, digitsOfOurs)
  if type(known) == 'table' and not string.find(known.err, 'WRONGTYPE', 1, true) then error(known) end
  if known == '' or type(known) == 'string' and #known == digitsOfOurs and not string.find(known, '%D') then
    return known
  end
  -- UNLINK has it freed by another thread, SET would free it here.
  redis.call('UNLINK', name)
  return ''
end

return eachRow(3, function(first)
  local name, version, ms = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local known = knownVersion(name, #version)
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
