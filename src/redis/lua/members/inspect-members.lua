-- Rows as in member-rows.lua, of each cell its digest.

return memberRows(cellDigest)
