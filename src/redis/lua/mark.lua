-- Who wrote a key on the target last: the mark that the DualWriters of an application leave behind
-- their writes (src/dual-write/target/marks.ts). One whose write was on its way during this repair
-- meets it, and records the key: its write may be older than what was repaired.

-- As long as those of the writers.
local MARK_MS = '10000'

-- Behind the last write of a row. What refuses it (a slot on its way, no right to it) must not undo
-- a repair that is done.
local function leaveMark(mark)
  redis.pcall('SET', mark, 'keymend', 'PX', MARK_MS)
end
