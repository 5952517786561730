-- How is each key built anew? Reads only; all of one key at one moment.
-- Row in:  key
-- Row out: {type, digest, expiry, recipe}, the recipe as in recipe.lua, '' where there is none; {'none', '', -2, ''} without key

return eachRow(1, function(first)
  local key = ARGV[first]
  local digest, size, kind = fingerprint(key)
  if kind == 'none' then return { 'none', '', NO_KEY, '' }, 0 end
  if digest == LARGE then return { kind, digest, expiryOf(key), '' }, 0 end
  local recipe = recipeOf(key, kind) or ''
  return { kind, digest, expiryOf(key), recipe }, size + #recipe
end)
