-- Rows as in reading.lua, the value being a recipe as in recipe.lua; the error NORECIPE for a type
-- that commands can't build.

return readEach(function(key, kind)
  local recipe, words = recipeOf(key, kind or typeOf(key))
  if not recipe then error({ err = 'NORECIPE no commands build this type' }) end
  return recipe, #recipe + ELEMENT_WORK * words
end)
