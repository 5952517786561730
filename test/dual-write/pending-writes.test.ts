/** What is kept of writes in transactional mode while a sink does not answer. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { Publisher } from '../../src/dual-write/records/publisher.js';
import { Recorder } from '../../src/dual-write/records/recorder.js';
import { Intents } from '../../src/dual-write/source/intents.js';
import { classify, type Write } from '../../src/dual-write/source/write.js';
import type { MirrorFailure } from '../../src/dual-write/target/mirror-failure.js';
import { eventually } from '../support/eventually.js';
import { startRedis } from '../support/redis.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const OUTBOX = 'keymend:outbox';
const NAMES = { link: 'east-to-west', origin: 'test' };
const BREAKER_OPEN: MirrorFailure = { outcome: 'refused', error: { code: 'BREAKER_OPEN', message: 'm' } };

/** Writes that were announced, and a sink that takes their records when the test says so. */
async function recording(onUnrecorded: 'report' | 'reject') {
  const source = await startRedis();
  onTestFinished(() => source.stop());
  const client = new Redis(source.port, '127.0.0.1', { lazyConnect: true });
  const intents = new Intents({
    client,
    key: OUTBOX,
    graceMs: 10_000,
    maxEntries: 10_000,
    context: NAMES,
    onState() {},
  });
  onTestFinished(() => intents.close(0));
  let take!: () => void;
  const taken = new Promise<void>((resolve) => {
    take = resolve;
  });
  const publisher = new Publisher({
    sinks: [{ publish: () => taken }],
    onError() {},
    maxPending: 10,
    failoverAfterMs: 5_000,
    outboxKnows: true,
    whenSafe: (ids) => intents.remove(ids),
  });
  const recorder = new Recorder({ publisher, intents, context: NAMES, onUnrecorded });
  let number = 0;
  async function fail(command: string, ...args: string[]): Promise<WeakRef<Write>> {
    const found = classify(command, args);
    if (found.kind !== 'write') throw new Error(`${command} is no write`);
    for (const announced of intents.announce(found.write)) {
      announced.answered(await source.client.sendCommand(announced.command));
    }
    number += 1;
    void recorder.failed([found.write], BREAKER_OPEN, number);
    return new WeakRef(found.write);
  }
  return { fail, take: () => take(), entries: () => source.client.xlen(OUTBOX), waiting: () => publisher.size };
}

it.each(['report', 'reject'] as const)(
  'a failed write, and its values with it, is not kept until a sink has its record (%s); its entries go then',
  async (onUnrecorded) => {
    const { fail, take, entries, waiting } = await recording(onUnrecorded);
    const writes: WeakRef<Write>[] = [];
    for (let count = 0; count < 100; count++) {
      writes.push(await fail('SET', 'hot', 'v'));
      writes.push(await fail('MSET', 'a', 'v', 'b', 'v'));
    }
    await nextTurn();
    collectGarbage();
    expect(writes.filter((write) => write.deref() !== undefined)).toEqual([]);
    // One key is with the sink already.
    expect(waiting()).toBeLessThanOrEqual(2 * 3);
    expect(await entries()).toBe(300);
    take();
    await eventually(async () => expect([await entries(), waiting()]).toEqual([0, 0]));
  },
);
