-- Pages of what is pending in a consumer group, by entry ID.

local PAGE = 100

-- {id, consumer, idle ms, times delivered} for the entries behind the ID `after`.
local function pendingPage(key, group, after)
  local start = behind(after)
  return start and redis.call('XPENDING', key, group, start, '+', PAGE) or {}
end
