/**
 * The mark of who wrote a key on the target last: DualWriters leave it behind their writes, and a
 * repair in the step that writes.
 */
import { slotOf, tagIn } from './slots.js';

const PREFIX = Buffer.from('keymend:writer:');
const [OPEN, CLOSE] = [Buffer.from('{'), Buffer.from('}')];

/** The name of a key's mark, in the slot of the key. */
export function markOf(key: Buffer): Buffer {
  // Without a brace that closes, the key has no tag and can stand in the place of one.
  if (key.length > 0 && !key.includes(CLOSE)) return Buffer.concat([PREFIX, OPEN, key, CLOSE]);
  const open = key.indexOf(OPEN);
  const close = open < 0 ? -1 : key.indexOf(CLOSE, open);
  if (close > open + 1) return Buffer.concat([PREFIX, key.subarray(open, close + 1), key]);
  return Buffer.concat([PREFIX, Buffer.from(`{${tagIn(slotOf(key))}}`), key]);
}
