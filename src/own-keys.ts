/**
 * The keys of keymend itself, on both sides of a link: outbox, dead letters, budgets, values under
 * construction. They are never mirrored, never reconciled, and left out of every comparison.
 */

/** Every key that begins so is keymend's own. */
export const OWN_PREFIX = 'keymend:';
const OWN_BYTES = Buffer.from(OWN_PREFIX);

/** @param key as text or as raw bytes */
export function isOwnKey(key: string | Buffer): boolean {
  if (typeof key === 'string') return key.startsWith(OWN_PREFIX);
  return key.length >= OWN_BYTES.length && OWN_BYTES.compare(key, 0, OWN_BYTES.length) === 0;
}

/** Why such a key is left alone: one line, for whoever asked for it. */
export const OWN_KEY_REFUSED = `a key that begins with ${OWN_PREFIX} is keymend's own and is never reconciled`;
