-- Leases a part of a link's budget on this server. docs/decisions/0001-budget.md explains the algorithm.
-- Row in:  key                 the state of the budget; it expires when nothing in it counts any more
--          operations          wanted; the call itself is charged on top, granted or not
--          limit, window       at most `limit` operations in any `window` ms; more than that at once goes into debt
--          longest queue       in ms: who would have to wait longer for those before it is refused
--          lease, operations   any number of pairs: what of an earlier lease was not used, and never will be
-- Row out: {'granted', wait, lease}   the operations may be executed `wait` ms from now
--          {'refused', wait}          nothing is leased; asking again makes sense `wait` ms from now
-- One row only.

-- EVALSHA, TIME, GET, SET.
local OWN_OPERATIONS = 4
-- So far may the pace fall behind and still catch up: a lease that is asked for a little late costs no throughput.
local CATCH_UP_MS = 50

local key = ARGV[1]
local wanted, limit, window, longestQueue = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local FIRST_RETURN = 6
local perMs = limit / window
local started = now()

-- `due`: when the next lease is due at an even pace. `dates`, `counts`: when how many operations were leased.
local state = { at = started, due = 0, dates = {}, counts = {} }

-- The state without what no window reaches any more. A clock that was set back, or a replica's that was promoted, must
-- not hold everybody up until it has caught up: then the log begins anew.
local function recall()
  local packed = redis.call('GET', key)
  local former = packed and cmsgpack.unpack(packed)
  if not former or former.at > started + window then return end
  state.due = former.due
  for i, date in ipairs(former.dates) do
    if date > started - window then
      state.dates[#state.dates + 1] = date
      state.counts[#state.counts + 1] = former.counts[i]
    end
  end
end

local function takeBack(lease, operations)
  for i, date in ipairs(state.dates) do
    if date == lease then
      state.counts[i] = math.max(0, state.counts[i] - operations)
      state.due = state.due - operations / perMs
    end
  end
end

local function lastDate()
  return state.dates[#state.dates] or 0
end

local function charge(date, operations)
  local last = #state.dates
  if state.dates[last] ~= date then
    last = last + 1
    state.dates[last] = date
    state.counts[last] = 0
  end
  state.counts[last] = state.counts[last] + operations
end

-- The first moment from `earliest` on at which `operations` more fit into the window that ends there.
local function whenItFits(earliest, operations)
  local sum, oldest, moment = operations, 1, earliest
  for _, count in ipairs(state.counts) do sum = sum + count end
  while oldest <= #state.dates and (sum > limit or state.dates[oldest] <= moment - window) do
    sum = sum - state.counts[oldest]
    moment = math.max(moment, state.dates[oldest] + window)
    oldest = oldest + 1
  end
  return moment
end

-- A full server refuses SET, but lets a script go on that has written before: without a lease nothing could be deleted
-- there, which is what such a server needs.
local function save()
  state.at = started
  local lifetime = lastDate() + window - started
  local function set() return redis.pcall('SET', key, cmsgpack.pack(state), 'PX', lifetime) end
  local reply = set()
  if reply.err and string.find(reply.err, 'OOM', 1, true) then
    redis.call('UNLINK', key)
    reply = set()
  end
  if reply.err then error(reply) end
end

local function lease()
  recall()
  for i = FIRST_RETURN, #ARGV, 2 do takeBack(tonumber(ARGV[i]), tonumber(ARGV[i + 1])) end
  -- Never before who came earlier, so that nobody who asks for much is overtaken for ever by those who ask for little.
  local earliest = math.max(started, math.ceil(state.due), lastDate())
  local queue = earliest - started
  if queue > longestQueue then
    charge(earliest, OWN_OPERATIONS)
    state.due = state.due + OWN_OPERATIONS / perMs
    save()
    return { 'refused', math.ceil(queue - longestQueue / 2) }
  end
  local operations = wanted + OWN_OPERATIONS
  local start = whenItFits(earliest, operations)
  -- A debt is dated later: it leaves the window when it has been paid.
  local date = start + math.max(0, math.ceil((operations / limit - 1) * window))
  charge(date, operations)
  state.due = math.max(state.due, start - CATCH_UP_MS) + operations / perMs
  save()
  return { 'granted', start - started, date }
end

local ok, row = pcall(lease)
if not ok then row = { 'error', type(row) == 'table' and row.err or tostring(row) } end
return { started, row }
