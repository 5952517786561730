-- behind(id): where a range of IDs begins that comes behind one; nil behind the greatest, where
-- Redis knows no range any more.

local GREATEST_ID = '18446744073709551615-18446744073709551615'

local function behind(id)
  if id ~= GREATEST_ID then return '(' .. id end
end
