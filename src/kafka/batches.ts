/** How much Kafka is sent at once. */
import type { IHeaders } from 'kafkajs';
import { inParts } from '../events/parts.js';
import { kafkaErrorType } from './client.js';
import { bytesOf } from './headers.js';

/** Half of what a broker takes in one batch by default. */
const MAX_SEND_BYTES = 512 * 1024;

/** What counts of a message. */
interface Sized {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly headers?: IHeaders;
}

/**
 * Splits messages into parts that a broker takes in one batch, in order.
 * @param messageOf what an item becomes in Kafka
 */
export function inBatches<Item>(items: Iterable<Item>, messageOf: (item: Item) => Sized): Iterable<Item[]> {
  const sizeOf = (item: Item) => {
    const { key, value, headers = {} } = messageOf(item);
    return key.length + value.length + bytesOf(headers);
  };
  return inParts(items, sizeOf, { bytes: MAX_SEND_BYTES });
}

/** What a broker answers when a topic takes less at once than was sent. */
const TOO_LARGE: ReadonlySet<string> = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);

/**
 * Sends items, in halves for as long as the topic finds them too large, in order. What it has taken
 * of a part in spite of the error (of another partition) is there twice then.
 * @param send sends a part
 * @param refuse is given an item that is too large by itself, and with which error
 * @throws what `send` rejects with otherwise
 */
export async function sendInFittingParts<Item>(
  part: readonly Item[],
  send: (part: readonly Item[]) => Promise<void>,
  refuse: (item: Item, error: unknown) => Promise<void>,
): Promise<void> {
  try {
    await send(part);
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    if (part.length === 1) return refuse(part[0]!, error);
    const middle = part.length >> 1;
    for (const half of [part.slice(0, middle), part.slice(middle)]) await sendInFittingParts(half, send, refuse);
  }
}

/** Whether a smaller part may be taken. */
export function isTooLarge(error: unknown): boolean {
  return TOO_LARGE.has(kafkaErrorType(error) ?? '');
}
