-- Pages of what is pending in a consumer group, by entry ID.

local PAGE = 250

-- {id, consumer, idle ms, times delivered} for the entries behind the ID `after`.
local function pendingPage(key, group, after)
  return redis.call('XPENDING', key, group, '(' .. after, '+', PAGE)
end
