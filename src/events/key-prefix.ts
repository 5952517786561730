/** By what keys are counted together. */

const LONGEST_PREFIX = 64;

/**
 * What a key begins with: whole words up to the first that has a digit in it, which is most likely
 * an ID, or else up to the last. `user:42:mail` → `user:`.
 */
export function prefixOf(key: Buffer): string {
  const text = key.toString('latin1', 0, LONGEST_PREFIX);
  const words = text.split(/(?<=[:/.|_-])/);
  const end = words.findIndex((word) => /[^A-Za-z:/.|_-]/.test(word));
  return words.slice(0, end < 0 ? words.length - 1 : end).join('');
}
