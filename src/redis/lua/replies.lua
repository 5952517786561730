-- Replies that stand for a map arrive as {name, value, name, value, …}.

local function named(flat)
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end
