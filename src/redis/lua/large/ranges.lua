-- A range of a list or stream, so that neither many elements nor large ones make it long.

-- No further step once a range has this many bytes. A single element may be larger, and then is a
-- range of its own.
local RANGE_BYTES = 262144
local LONGEST_STEP = 256

-- Read by one command: of a list that is compressed, each that touches a large element has the
-- server try anew to compress it. How many elements fit, the caller has to find out; those that do
-- not are left out.
local function listRange(key, start, count)
  local elements = redis.call('LRANGE', key, start, start + count - 1)
  local bytes = 0
  for i = 1, #elements do
    if bytes >= RANGE_BYTES then elements[i] = nil else bytes = bytes + #elements[i] end
  end
  return elements, bytes
end

-- Calls more(read, step) for the next `step` items until `count` are there, the range is large
-- enough, or none is left. `more` answers with items and bytes. The steps grow, but never beyond
-- what the average so far lets expect to fit.
local function readRange(count, more)
  local items, bytes, step = {}, 0, 1
  while #items < count and bytes < RANGE_BYTES do
    local found, size = more(items, math.min(step, count - #items))
    if #found == 0 then break end
    for i = 1, #found do items[#items + 1] = found[i] end
    bytes = bytes + size
    local fitting = math.floor((RANGE_BYTES - bytes) * #items / math.max(bytes, 1))
    step = math.max(1, math.min(4 * step, LONGEST_STEP, fitting))
  end
  return items, bytes
end

-- Entries behind the ID `after` up to `through`: {id, {field, value, …}} each.
local function streamRange(key, after, through, count)
  return readRange(count, function(read, step)
    local start = behind(#read > 0 and read[#read][1] or after)
    local entries = start and redis.call('XRANGE', key, start, through, 'COUNT', step) or {}
    local size = 0
    for i = 1, #entries do
      for _, text in ipairs(entries[i][2]) do size = size + #text end
    end
    return entries, size
  end)
end
