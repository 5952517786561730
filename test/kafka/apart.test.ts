/** A topic of which one partition is out: a broker alone can't be made to be that. */
import { KafkaJSProtocolError } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { sendingApart } from '../../src/kafka/apart.js';
import { sendInFittingParts } from '../../src/kafka/batches.js';

interface Item {
  readonly partition: number;
  readonly value: string;
}

const items = (...partitions: number[]): Item[] =>
  partitions.map((partition, index) => ({ partition, value: `${partition}-${index}` }));

/** @param refuses what it answers instead of taking a partition, or the whole call */
function topic(refuses: (partition: number, sent: readonly Item[]) => Error | undefined) {
  const log: string[] = [];
  const calls: string[][] = [];
  const told: string[] = [];
  const known = new WeakSet<object>();
  const sending = sendingApart<Item>({
    messageOf: (item) => item,
    onTaken: ({ value }) => told.push(value),
    producer: {
      partitionOf: (message) => (known.has(message) ? (message as unknown as Item).partition : undefined),
      async publish(messages) {
        const sent = messages as unknown as readonly Item[];
        calls.push(sent.map(({ value }) => value));
        for (const item of sent) known.add(item);
        let failure: Error | undefined;
        for (const partition of new Set(sent.map((item) => item.partition))) {
          const refusal = refuses(partition, sent);
          failure ??= refusal;
          if (refusal === undefined) log.push(...sent.filter((i) => i.partition === partition).map((i) => i.value));
        }
        if (failure) throw failure;
      },
    },
  });
  return { log, calls, told, sending };
}

const answer = (type: string) => new KafkaJSProtocolError({ type, code: 1, retriable: true, message: type } as never);
const counted = (log: readonly string[], value: string) => log.filter((each) => each === value).length;

describe('sending apart', () => {
  it('sends all at once while all is well', async () => {
    const { log, calls, told, sending } = topic(() => undefined);
    await sending(items(0, 1, 0))();
    expect(calls).toHaveLength(1);
    expect(told).toEqual(['0-0', '1-1', '0-2']);
    expect(log.sort()).toEqual(['0-0', '0-2', '1-1']);
  });

  it('sends what the healthy partitions have taken not again and again while one is out', async () => {
    let isOut = true;
    const { log, told, sending } = topic((partition) =>
      partition === 1 && isOut ? answer('NOT_ENOUGH_REPLICAS') : undefined,
    );
    const send = sending(items(0, 1, 2, 1, 0));
    for (let tries = 0; tries < 5; tries++) await expect(send()).rejects.toThrow('NOT_ENOUGH_REPLICAS');
    // Once by the first call, which failed as a whole, and once by itself.
    for (const value of ['0-0', '2-2', '0-4']) expect(counted(log, value)).toBe(2);
    expect(told.sort()).toEqual(['0-0', '0-4', '2-2']);
    isOut = false;
    await send();
    expect(log.filter((value) => value.startsWith('1'))).toEqual(['1-1', '1-3']);
    expect(told.slice(3)).toEqual(['1-1', '1-3']);
  });

  it('begins with another partition where the one before got no answer', async () => {
    const { log, calls, sending } = topic((partition) => (partition === 0 ? new Error('no answer') : undefined));
    const send = sending(items(0, 1, 2));
    for (let tries = 0; tries < 4; tries++) await expect(send()).rejects.toThrow('no answer');
    expect(calls).toEqual([['0-0', '1-1', '2-2'], ['0-0'], ['1-1'], ['2-2'], ['0-0'], ['0-0']]);
    expect(counted(log, '1-1')).toBe(2);
  });

  it('leaves what was taken out of the halves of what was too large', async () => {
    let isLarge = true;
    const { log, told, sending } = topic((partition, sent) => {
      if (partition !== 1) return undefined;
      if (isLarge) return answer('NOT_ENOUGH_REPLICAS');
      return sent.length > 1 ? answer('MESSAGE_TOO_LARGE') : undefined;
    });
    const publish = async (part: readonly Item[]) => {
      const send = sending(part);
      await send().catch((error) => {
        if (!isLarge) throw error;
      });
      isLarge = false;
      await send();
    };
    await sendInFittingParts(items(0, 1, 1, 0), publish, async () => expect.unreachable());
    expect(counted(log, '0-0')).toBe(2);
    expect(log.filter((value) => value.startsWith('1'))).toEqual(['1-1', '1-2']);
    expect(told).toHaveLength(4);
  });
});
