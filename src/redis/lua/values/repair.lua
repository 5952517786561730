-- Compare-and-set: a key is written only if it still is as it was compared.
-- Row in:  key, digest, expiry  — the key as it was compared, in the words of inspect.lua
--          deadline             — in ms of this server's clock; after it nobody waits any more
--          action               — 'restore', 'delete', 'expiry'
--          new expiry           — in ms since the epoch, -1 for none
--          expiry tolerated     — '1' when the present expiry is close enough to the new one
--          content, dump        — for 'delete': the digest of a content that stays (''): any goes;
--                                 for 'restore': digest of the new content ('' and 'different': not
--                                 compared, in the latter case because the types agree), DUMP
--          mark                 — the name of the key's mark
-- Row out: outcome, as a text:
--   'changed'   the key is not as it was compared: nothing was done
--   'late'      the deadline has passed: nothing was done
--   'equal'     the content is the new one already, the expiry close enough: nothing was done
--   'restored', 'deleted', 'expiry'   done
--   'incomparable'   restored, but this server dumps it otherwise than it was written: whether it
--               is the source's can't be seen
--   'expired'   the new expiry lies in the past, so the key is gone
--
-- Late or twice: a copy of this call that is executed after the deadline does nothing; one executed
-- again before it finds the key changed by the first.

local started = now()

-- Redis does not create, and at PEXPIREAT removes, a key whose expiry has passed: never
-- resurrected.
local function unlessExpired(key, expiry, outcome)
  if expiry ~= '-1' and isGone(key) then return 'expired' end
  return outcome
end

-- Only of types that are not known: others have a digest of their content, or are proven to differ.
local function looksAsWritten(key, dump, content)
  if content ~= '' or isPlain(dump) then return true end
  local kind = typeOf(key)
  if kind == 'none' or CARDINALITY[kind] then return true end
  return unversioned(redis.call('DUMP', key)) == unversioned(dump)
end

return eachRow(10, function(first)
  local key, action, newExpiry = ARGV[first], ARGV[first + 4], ARGV[first + 5]
  local digest, size, kind = fingerprint(key)
  if digest == LARGE or digest ~= ARGV[first + 1] then return 'changed', size end
  if not sameExpiry(expiryOf(key), tonumber(ARGV[first + 2])) then return 'changed', size end
  if started > tonumber(ARGV[first + 3]) then return 'late', size end
  -- For the rows behind it.
  if first + 10 <= #ARGV then lookForRoom(key) end
  if action == 'delete' then
    local stays = ARGV[first + 7]
    if stays ~= '' then
      local present, work = contentDigest(key, kind or typeOf(key), size, isOfRow(stays))
      size = size + work
      if present == stays then return 'equal', size end
    end
    redis.call('UNLINK', key)
    leaveMark(ARGV[first + 9])
    return 'deleted', size
  end
  local content, dump = ARGV[first + 7], ARGV[first + 8]
  size = size + #dump
  local present, work = '', 0
  if action == 'restore' and content ~= '' and content ~= DIFFERENT then
    present, work = contentDigest(key, kind or typeOf(key), size)
  end
  size = size + work
  if action == 'restore' and (content == '' or present ~= content) then
    requireRoom()
    redis.call('RESTORE', key, newExpiry == '-1' and '0' or newExpiry, dump, 'REPLACE', 'ABSTTL')
    wrote = 'wrote'
    local outcome = unlessExpired(key, newExpiry, looksAsWritten(key, dump, content) and 'restored' or 'incomparable')
    leaveMark(ARGV[first + 9])
    return outcome, size
  end
  if ARGV[first + 6] == '1' then return 'equal', size end
  setExpiry(key, newExpiry, started)
  wrote = 'wrote'
  local outcome = unlessExpired(key, newExpiry, 'expiry')
  leaveMark(ARGV[first + 9])
  return outcome, size
end)
