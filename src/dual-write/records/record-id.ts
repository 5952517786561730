/** Ids of failed-write records. */
import { randomFillSync } from 'node:crypto';
import { monotonicFactory } from 'ulid';

/**
 * Random bytes in stock. An id needs 16 of them, and drawing them one by one costs fifty times as
 * much as the rest of it.
 */
const stock = Buffer.alloc(4096);
let used = stock.length;

/** @returns from 0 to less than 1, as the library wants it */
function random(): number {
  if (used === stock.length) {
    randomFillSync(stock);
    used = 0;
  }
  const byte = stock[used]!;
  used += 1;
  return byte / 256;
}

/** A new ULID. Within one millisecond it counts on. */
export const newRecordId: () => string = monotonicFactory(random);
