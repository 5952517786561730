-- Leases a slice of a link's budget on this server. The algorithm is the generic cell rate
-- algorithm in its virtual scheduling form (ITU-T Recommendation I.371): all that is kept is the
-- theoretical arrival time, the moment at which everything leased so far will have been used up at
-- the pace of the budget. A slice begins there, or now.
-- Row in:  key            where that moment is kept; it expires by itself when it has passed
--          operations     how many are wanted
--          per ms         the pace: how many operations a ms may see
--          longest queue  in ms: a slice that would begin later than that is refused
-- Row out: {'granted', wait, form}  the slice begins `wait` ms from now
--          {'refused', wait, form}  nothing is leased; asking again makes sense `wait` ms from now
--          form: 'own', or 'foreign': the key held what no lease leaves, and that is replaced
-- The commands of this call are charged as well, granted or not.

-- No lease reaches further: such a state is of somebody else, and would hold up the link.
local LONGEST_LEASED_MS = 86400000

-- A clock that was set back, or the one of a promoted replica, must neither hold everybody up until
-- it has caught up nor forget what is leased: the distance is kept.
local function theoreticalArrival(key, started)
  -- No more than a state of ours has: what is there may be anything.
  local state = redis.pcall('GETRANGE', key, 0, 63)
  if state == '' then return started, 'own' end
  if type(state) == 'table' then
    if not string.find(state.err, 'WRONGTYPE', 1, true) then error(state) end
    -- It may be a huge list or hash: UNLINK has that freed by another thread, SET would free it
    -- here.
    redis.call('UNLINK', key)
    return started, 'foreign'
  end
  local at, arrival = string.match(state, '^(%d+) (%d+%.%d+)$')
  if not at or arrival - at > LONGEST_LEASED_MS then return started, 'foreign' end
  return math.max(started, arrival - math.max(0, at - started)), 'own'
end

-- A full server refuses SET, but lets a script go on that has written before: without a lease
-- nothing could be deleted there, which is what such a server needs.
local function keep(key, started, arrival)
  local function set()
    local state = string.format('%.0f %.3f', started, arrival)
    return redis.pcall('SET', key, state, 'PX', math.ceil(arrival - started))
  end
  local reply = set()
  if reply.err and string.find(reply.err, 'OOM', 1, true) then
    redis.call('UNLINK', key)
    reply = set()
  end
  if reply.err then error(reply) end
end

return eachRow(4, function(first)
  local key, wanted = ARGV[first], tonumber(ARGV[first + 1])
  local perMs, longestQueue = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local started = now()
  local begin, form = theoreticalArrival(key, started)
  local queue = begin - started
  local refused = queue > longestQueue
  local own = operations + 1 -- and SET
  keep(key, started, begin + (own + (refused and 0 or wanted)) / perMs)
  if refused then return { 'refused', math.ceil(queue - longestQueue / 2), form }, 0 end
  return { 'granted', math.ceil(queue), form }, 0
end)
