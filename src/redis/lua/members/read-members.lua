-- Rows as in member-rows.lua, each cell as it is.

return memberRows(function(cell) return cell end)
