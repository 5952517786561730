/** Messages of which one partition may be out while the others are well. */
import type { Message } from 'kafkajs';
import { isTooLarge } from './batches.js';
import { kafkaErrorType } from './client.js';
import type { OrderedProducer } from './ordered-producer.js';

interface Apart<Item> {
  readonly producer: Pick<OrderedProducer, 'publish' | 'partitionOf'>;
  /** The same object each time. */
  readonly messageOf: (item: Item) => Message;
  /** Told of each item once. */
  readonly onTaken?: (item: Item) => void;
}

/**
 * kafkajs fails a call when one partition does. What the others have taken would be appended anew
 * at each further call, for as long as that one is out. So after the first failure each partition
 * is sent by itself, and what is taken is not sent again.
 * @returns gives for some items what sends them, to be called until it resolves; it rejects with an
 *   error of kafkajs
 */
export function sendingApart<Item>({
  producer,
  messageOf,
  onTaken = () => {},
}: Apart<Item>): (items: readonly Item[]) => () => Promise<void> {
  const taken = new Set<Item>();
  const send = async (group: readonly Item[]) => {
    await producer.publish(group.map(messageOf));
    for (const item of group) {
      taken.add(item);
      onTaken(item);
    }
  };
  const byPartition = (items: readonly Item[]) => {
    const groups = new Map<number | undefined, Item[]>();
    for (const item of items) {
      const partition = producer.partitionOf(messageOf(item));
      const group = groups.get(partition);
      if (group) group.push(item);
      else groups.set(partition, [item]);
    }
    return groups.values();
  };
  return (items) => {
    // Of a part that was too large something may have been taken before it was halved.
    let groups: (readonly Item[])[] = [items.filter((item) => !taken.has(item))];
    return async () => {
      const refused: (readonly Item[])[] = [];
      let failure: unknown;
      for (let next = groups.shift(); next !== undefined; next = groups.shift()) {
        if (next.length === 0) continue;
        try {
          await send(next);
        } catch (error) {
          if (isTooLarge(error)) throw error;
          failure ??= error;
          refused.push(...byPartition(next));
          // No answer of a broker: the others are likely not to be reached either. They come first
          // the next time.
          if (kafkaErrorType(error) === undefined) break;
        }
      }
      groups = [...groups, ...refused];
      if (failure !== undefined) throw failure;
    };
  };
}
