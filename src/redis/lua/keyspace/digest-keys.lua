-- What do these keys hold together? Reads only.
-- Row in:  keys (packed)
-- Row out: {digest, expiries, large, how many, soonest expiry of a field}, as page.lua says

return eachRow(1, function(first)
  local digest, expiries, large, done, soonest, work = digestPage(unpackList(ARGV[first]))
  return { digest, expiries, large, done, soonest }, work
end)
