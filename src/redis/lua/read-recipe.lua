-- As read.lua, with a recipe in the place of the DUMP. Reads only; all of one key at one moment.
-- Row in:  key, its digest on the other side ('' without key), its type there
-- Row out: {type, digest, expiry, content, recipe}, the recipe as in recipe.lua, else as in read.lua; the error NORECIPE for a
--          type that commands can't build

return eachRow(3, function(first)
  local key, knownDigest, knownType = ARGV[first], ARGV[first + 1], ARGV[first + 2]
  local digest, size, kind = fingerprint(key)
  if kind == 'none' then return { 'none', '', NO_KEY, '', '' }, 0 end
  local expiry = expiryOf(key)
  if digest == knownDigest or digest == LARGE then return { kind, digest, expiry, '', '' }, size end
  local recipe = recipeOf(key, kind)
  if not recipe then error({ err = 'NORECIPE no commands build this type' }) end
  local content = kind == knownType and contentDigest(key, kind) or ''
  return { kind, digest, expiry, content, recipe }, size + #recipe
end)
