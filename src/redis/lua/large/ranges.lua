-- A range of a list or stream, so that neither many elements nor large ones make it long.

-- No further element once a range has this many bytes. A single one may be larger, and then is a
-- range of its own.
local RANGE_BYTES = 262144
-- What comes next may be larger than anything before it, and shows only when it has been read: 8
-- MiB take 11 ms. Of a list, each command goes through its nodes up to there.
local LONGEST_STEP = { list = 12, stream = 8 }

-- Calls read(last, from, step) for the next `step` items, behind the last one and `from` others,
-- until `count` are there, the range is large enough, or none is left. The steps grow, but never
-- beyond what the average so far lets expect to fit.
local function readRange(count, longestStep, read, sizeOf)
  local items, bytes, step = {}, 0, 1
  while #items < count and bytes < RANGE_BYTES do
    local found = read(items[#items], #items, math.min(step, count - #items))
    if #found == 0 then break end
    for i = 1, #found do
      if bytes >= RANGE_BYTES then break end
      items[#items + 1] = found[i]
      bytes = bytes + sizeOf(found[i])
    end
    local fitting = math.floor((RANGE_BYTES - bytes) * #items / math.max(bytes, 1))
    step = math.max(1, math.min(4 * step, longestStep, fitting))
  end
  return items, bytes
end

local function listRange(key, start, count)
  local function read(_, from, step)
    return redis.call('LRANGE', key, start + from, start + from + step - 1)
  end
  return readRange(count, LONGEST_STEP.list, read, string.len)
end

-- Entries behind the ID `after` up to `through`: {id, {field, value, …}} each.
local function streamRange(key, after, through, count)
  local function read(last, _, step)
    local start = behind(last and last[1] or after)
    return start and redis.call('XRANGE', key, start, through, 'COUNT', step) or {}
  end
  local function sizeOf(entry)
    local size = 0
    for _, text in ipairs(entry[2]) do size = size + #text end
    return size
  end
  return readRange(count, LONGEST_STEP.stream, read, sizeOf)
end
