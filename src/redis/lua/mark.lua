-- Who wrote a key on the target last: the mark that the DualWriters of an application leave behind
-- their writes (src/dual-write/target/marks.ts). One whose write was on its way during this repair
-- meets it, and records the key: its write may be older than what was repaired.

-- As long as those of the writers.
local MARK_MS = '10000'

-- In the slot of the key. A key with braces that are no tag has a mark under a name that can't be
-- made here, and gets none.
local function markOf(key)
  if key ~= '' and not string.find(key, '}', 1, true) then return 'keymend:writer:{' .. key .. '}' end
  local open = string.find(key, '{', 1, true)
  local close = open and string.find(key, '}', open + 1, true)
  if not close or close == open + 1 then return end
  return 'keymend:writer:' .. string.sub(key, open, close) .. key
end

-- Behind the last write of a row. What refuses it (a slot on its way, no right to it) must not undo
-- a repair that is done.
local function leaveMark(key)
  local mark = markOf(key)
  if mark then redis.pcall('SET', mark, 'keymend', 'PX', MARK_MS) end
end
