-- groupsFence(key): a digest of what WATCH does not see of a stream, '' for other types. WATCH
-- notices every change of a value and of its expiry but for these: XSETID and all that consumer
-- groups do (XREADGROUP, XACK, XCLAIM, XGROUP …).

-- Beyond this many pending entries only their number by consumer counts: one call must not be long.
local PENDING_LIMIT = 2000

-- No command tells of some groups or consumers alone: more of them than so many take too long.
local MOST_GROUPS_AND_CONSUMERS = 5000

local function groupsOf(key, number)
  local groups, all = {}, number
  if all <= MOST_GROUPS_AND_CONSUMERS then
    for i, reply in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      groups[i] = named(reply)
      all = all + groups[i].consumers
    end
  end
  if all > MOST_GROUPS_AND_CONSUMERS then error({ err = 'MANYGROUPS a stream has too many groups and consumers' }) end
  return groups
end

local function groupsFence(key)
  if typeOf(key) ~= 'stream' then return '' end
  local parts = {}
  local function add(part) parts[#parts + 1] = part end
  local stream = named(redis.call('XINFO', 'STREAM', key))
  add(stream['last-generated-id'])
  local left = PENDING_LIMIT
  for _, group in ipairs(groupsOf(key, stream.groups)) do
    add(group.name)
    add(group['last-delivered-id'])
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', key, group.name)) do
      local known = named(consumer)
      add(known.name)
      add(known.pending)
    end
    add(group.pending)
    if group.pending > 0 and group.pending <= left then
      left = left - group.pending
      for _, pending in ipairs(redis.call('XPENDING', key, group.name, '-', '+', group.pending)) do
        add(pending[1])
        add(pending[2])
        add(pending[4])
      end
    end
  end
  return redis.sha1hex(packList(parts))
end
