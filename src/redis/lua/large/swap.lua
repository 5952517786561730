-- Writes a watched key. Runs in the EXEC that the watch fences, so value and expiry are as
-- compared; a stream's groups, which WATCH does not see, are compared here.
-- Row in:  key, groups  — as compared, in the words of watched.lua
--          deadline     — in ms of this server's clock; after it nobody waits any more
--          action       — 'replace' by the temporary key, 'delete', 'expiry'
--          new expiry   — in ms since the epoch, -1 for none
--          temporary key
--          mark         — the name of the key's mark
-- Row out: {outcome}:
--   'changed'   not as compared, too late, or the temporary key has gone: nothing was done
--   'replaced', 'deleted', 'expiry'   done
--   'expired'   the new expiry lies in the past, so the key is gone

local started = now()

-- A right that is missing tells here, where nothing has been done: by what has no effect on a key
-- that is never there, or on the temporary one.
local function requireRights(temporary, expiry)
  local never = temporary .. ':never'
  redis.call('UNLINK', never)
  redis.call('RENAME', temporary, temporary)
  setExpiry(never, expiry, started)
end

return eachRow(7, function(first)
  local key, action, expiry, temporary = ARGV[first], ARGV[first + 3], ARGV[first + 4], ARGV[first + 5]
  if started > tonumber(ARGV[first + 2]) or groupsFence(key) ~= ARGV[first + 1] then return { 'changed' }, 0 end
  if action == 'replace' and redis.call('EXISTS', temporary) == 0 then return { 'changed' }, 0 end
  -- While a Cluster moves the slot, what is not there is refused. So would be RENAME, to a key that
  -- is not there any more: what is never there tells before the key has gone. Together with the key
  -- it would also tell if their slots were not the same.
  if action == 'replace' then redis.call('EXISTS', key, temporary .. ':never') end
  -- Large keys are always unlinked, never overwritten or expired in place: their memory is then
  -- freed beside the commands.
  if action == 'delete' or expiry ~= '-1' and tonumber(expiry) <= started then
    redis.call('UNLINK', key)
    leaveMark(ARGV[first + 6])
    return { action == 'delete' and 'deleted' or 'expired' }, 0
  end
  if action == 'replace' then
    requireRights(temporary, expiry)
    redis.call('UNLINK', key)
    redis.call('RENAME', temporary, key)
  end
  setExpiry(key, expiry, started)
  local isExpired = isGone(key)
  leaveMark(ARGV[first + 6])
  if isExpired then return { 'expired' }, 0 end
  return { action == 'replace' and 'replaced' or 'expiry' }, 0
end)
