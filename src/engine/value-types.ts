/**
 * The types of values that keymend knows, as TYPE says them. A small value of any other type is
 * copied by its DUMP all the same; what is in here can also be told apart by content, built by
 * commands and gone through when it is large. A further type is a row here and, in redis/lua/, a
 * digest of its content (content.lua), the commands that build it (recipe.lua) and how many
 * elements it has (prelude.lua); one by member also how they are asked for (members.lua,
 * scan-members.lua, repair-members.lua), one in order a comparison in large/.
 */
import { NO_TYPE } from '../redis/index.js';

/**
 * How a large value is gone through: `by member`, each by its name and by itself
 * (large/by-member.ts), or `in order`, as a whole that is replaced at once
 * (large/replacement.ts).
 */
const WAYS: ReadonlyMap<string, 'by member' | 'in order'> = new Map([
  ['string', 'in order'],
  ['list', 'in order'],
  ['stream', 'in order'],
  // Nothing takes the place of something at once, too.
  [NO_TYPE, 'in order'],
  ['hash', 'by member'],
  ['set', 'by member'],
  ['zset', 'by member'],
]);

/** Whether the members of a value have names, so that each can be looked at by itself. */
export function hasMembers(type: string): boolean {
  return WAYS.get(type) === 'by member';
}

/** Whether a large value, or its absence, is brought into place as a whole. */
export function isInOrder(type: string): boolean {
  return WAYS.get(type) === 'in order';
}
