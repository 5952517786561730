/**
 * The mark of who wrote a key on the target last: DualWriters leave it behind their writes, and a
 * repair in the step that writes.
 */
import { slotOf, tagIn } from './slots.js';

const PREFIX = Buffer.from('keymend:writer:{', 'latin1');
const [OPEN, CLOSE] = ['{'.charCodeAt(0), '}'.charCodeAt(0)];

const NOTHING = Buffer.alloc(0);

/** The name of a key's mark, in the slot of the key. */
export function markOf(key: Buffer): Buffer {
  // Without a brace that closes, the key has no tag and can stand in the place of one.
  if (key.length > 0 && !key.includes(CLOSE)) return named(key, NOTHING);
  const open = key.indexOf(OPEN);
  const close = open < 0 ? -1 : key.indexOf(CLOSE, open);
  return named(close > open + 1 ? key.subarray(open + 1, close) : Buffer.from(tagIn(slotOf(key))), key);
}

/** Each repair has one: `Buffer.concat` would take twice as long. */
function named(tag: Buffer, rest: Buffer): Buffer {
  const mark = Buffer.allocUnsafe(PREFIX.length + tag.length + 1 + rest.length);
  PREFIX.copy(mark);
  tag.copy(mark, PREFIX.length);
  mark[PREFIX.length + tag.length] = CLOSE;
  rest.copy(mark, PREFIX.length + tag.length + 1);
  return mark;
}
