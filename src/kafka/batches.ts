/** How much Kafka is sent at once. */
import { inParts } from '../events/parts.js';

/** Half of what a broker takes in one batch by default. */
const MAX_SEND_BYTES = 512 * 1024;

/** What counts of a message. */
interface Sized {
  readonly key: Buffer;
  readonly value: Buffer;
}

/**
 * Splits messages into parts that a broker takes in one batch, in order.
 * @param messageOf what an item becomes in Kafka
 */
export function inBatches<Item>(items: Iterable<Item>, messageOf: (item: Item) => Sized): Iterable<Item[]> {
  const sizeOf = (item: Item) => {
    const { key, value } = messageOf(item);
    return key.length + value.length;
  };
  return inParts(items, sizeOf, { bytes: MAX_SEND_BYTES });
}
