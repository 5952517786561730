import { pino } from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ConsumerGroup, type DeliveredEntry } from '../../src/outbox/consumer-group.js';
import { createEntryReader } from '../../src/outbox/entry-reader.js';
import { HeldIntents } from '../../src/outbox/held-intents.js';
import { connectKeyServers } from '../../src/redis/index.js';
import { provideRedis62 } from '../../src/stack/programs/index.js';
import { describeWith } from '../support/services.js';
import { until } from './bridge-bed.js';
import { accepting, GROUP, STREAM, streamBed } from './stream-bed.js';

type Bed = Awaited<ReturnType<typeof streamBed>>;

/** As a DualWriter in transactional mode does. */
async function announce(bed: Bed, value: string, graceMs: number | string): Promise<string> {
  return (await bed.redis().xadd(STREAM, '*', 'key', 'k', 'value', value, 'intent', graceMs))!;
}

/** By the clock of the server. */
async function age(bed: Bed, id: string): Promise<number> {
  const [seconds, micros] = await bed.redis().time();
  return Number(seconds) * 1000 + Number(micros) / 1000 - Number(id.split('-')[0]);
}

describe('an intent in the outbox', () => {
  test('is left alone during its grace, while other entries are handed out, and taken up after it', async () => {
    const bed = await streamBed();
    const id = await announce(bed, 'intent', 5_000);
    const seen: string[] = [];
    const ages: number[] = [];
    bed.start(async (batch) => {
      if (batch.records.some(({ position }) => position.offset === id)) ages.push(await age(bed, id));
      await accepting(seen)(batch);
    });
    await bed.add('failed');
    await until(() => expect(seen).toEqual(['failed']));
    expect(await bed.left()).toEqual({ entries: 1, pending: 1 });
    await until(() => expect(seen).toEqual(['failed', 'intent']));
    expect(ages).toEqual([expect.any(Number)]);
    expect(ages[0]).toBeGreaterThanOrEqual(5_000);
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
  });

  test('that the application removes meanwhile is forgotten, without being handed out', async () => {
    const bed = await streamBed();
    const id = await announce(bed, 'intent', 5_000);
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    await bed.redis().xdel(STREAM, id);
    await bed.add('later');
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    expect(seen).toEqual(['later']);
    expect(bed.warnings()).toEqual([]);
  });

  test('that is old when it is read is handed out at once, without the field among its headers', async () => {
    const bed = await streamBed();
    const id = await announce(bed, 'intent', 50);
    await until(async () => expect(await age(bed, id)).toBeGreaterThan(50));
    const headers: unknown[] = [];
    bed.start(async ({ records, accepted }) => {
      for (const record of records) {
        headers.push(record.headers);
        accepted(record);
      }
    });
    await until(() => expect(headers).toEqual([{}]));
  });

  test('that may not be taken up yet is no record that waits', async () => {
    const bed = await streamBed();
    const backlogs: number[] = [];
    bed.start(async ({ records, backlog, accepted }) => {
      backlogs.push(backlog.records);
      for (const record of records) accepted(record);
    });
    for (let count = 0; count < 20; count++) await announce(bed, 'blocked pop', 86_400_000);
    await until(async () => expect(await bed.left()).toEqual({ entries: 20, pending: 20 }));
    await bed.add('failed');
    await until(() => expect(backlogs).toEqual([1]));
  });

  test('whose grace is no number is taken up like any other entry', async () => {
    const bed = await streamBed();
    await announce(bed, 'odd', 'soon');
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['odd']));
  });

  test('is claimed when the reader that held it died, and left alone still if it is young', async () => {
    const bed = await streamBed();
    await announce(bed, 'old', 1_000);
    const young = await announce(bed, 'young', 600_000);
    await bed.readAsOneThatDies(2);
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['old']));
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    const [[pending, holder]] = (await bed.redis().xpending(STREAM, GROUP, '-', '+', 1)) as [[string, string]];
    expect(pending).toBe(young);
    expect(holder).not.toMatch(/^dead-/);
  });

  test('is left by a reader that stops in order to the next one, which knows its age', async () => {
    const bed = await streamBed();
    await announce(bed, 'intent', 3_000);
    const first = bed.start(accepting([]));
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    await first.stop();
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['intent']));
  });

  test('that is young keeps nothing new from being read, however many there are', async () => {
    const bed = await streamBed();
    const old = 20_000;
    const pipeline = bed.redis().pipeline();
    // Long idle already, as what is claimed again and again.
    pipeline.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
    for (let count = 0; count < old; count++)
      pipeline.xadd(STREAM, '*', 'key', 'k', 'value', 'v', 'intent', 86_400_000);
    pipeline.xreadgroup('GROUP', GROUP, 'dead', 'COUNT', old, 'STREAMS', STREAM, '>');
    pipeline.call('EVAL', OUTDATE, 1, STREAM, GROUP);
    await pipeline.exec();
    await bed.add('new');
    const seen: string[] = [];
    const claimed = async () =>
      ((await bed.redis().xpending(STREAM, GROUP, '-', '+', old, 'dead')) as unknown[]).length;
    let leftWhenSeen = 0;
    bed.start(async (batch) => {
      leftWhenSeen = await claimed();
      await accepting(seen)(batch);
    });
    await until(() => expect(seen).toEqual(['new']));
    expect(leftWhenSeen).toBeGreaterThan(old / 2);
  });
});

test('5,000 intents of a reader that died, removed meanwhile, are forgotten without a pause', async () => {
  const bed = await streamBed();
  const removed = 5_000;
  const pipeline = bed.redis().pipeline();
  pipeline.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
  for (let count = 0; count < removed; count++) pipeline.xadd(STREAM, '*', 'key', 'k', 'value', 'v', 'intent', 60_000);
  const [, ...ids] = (await pipeline.exec())!.map(([, id]) => String(id));
  await bed.add('failed');
  await bed.redis().xreadgroup('GROUP', GROUP, 'dead', 'COUNT', removed + 1, 'STREAMS', STREAM, '>');
  await bed.redis().eval(OUTDATE, 1, STREAM, GROUP);
  await bed.redis().xdel(STREAM, ...ids);

  const servers = connectKeyServers({ url: bed.server().url }, { name: 'source of link l' });
  onTestFinished(() => servers.close());
  const consumerGroup = new ConsumerGroup({ servers, stream: STREAM, group: GROUP, consumer: 'c', warn() {} });
  onTestFinished(() => consumerGroup.close());
  const { signal } = new AbortController();
  const logger = pino({ level: 'silent' });
  const reader = createEntryReader({ consumerGroup, group: GROUP, async onDeleted() {}, logger, signal });
  const read = vi.spyOn(consumerGroup, 'read');
  const claim = vi.spyOn(consumerGroup, 'claim');
  let entries: readonly DeliveredEntry[] = [];
  while (entries.length === 0) entries = await reader.next();
  expect(entries.map(({ fields }) => String(fields[3]))).toEqual(['failed']);
  expect(claim).toHaveBeenCalledTimes(removed / 500 + 1);
  // Between two claims what is new is looked at, and not waited for.
  expect(read).toHaveBeenCalledTimes(removed / 500);
  expect(new Set(read.mock.calls.map(([, blockMs]) => blockMs))).toEqual(new Set([1]));
});

/** Makes all that is assigned idle for an hour. */
const OUTDATE = `
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100000)
for _, entry in ipairs(pending) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], 'dead', 0, entry[1], 'IDLE', 3600000, 'JUSTID')
end`;

const LONG = 'whose grace is longer than it takes until entries are claimed';

async function comesBack(binary?: string): Promise<void> {
  const bed = await streamBed(binary);
  const id = await announce(bed, 'intent', 12_000);
  const removed = await announce(bed, 'removed', 86_400_000);
  const seen: string[] = [];
  const ages: number[] = [];
  bed.start(async (batch) => {
    ages.push(await age(bed, id));
    await accepting(seen)(batch);
  });
  await until(async () => expect(await bed.left()).toEqual({ entries: 2, pending: 2 }));
  await bed.redis().xdel(STREAM, removed);
  await until(() => expect(seen).toEqual(['intent']));
  expect(ages[0]).toBeGreaterThanOrEqual(12_000);
  await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
}

test(`an intent ${LONG} comes back by itself, or is forgotten when it was removed`, () => comesBack());

await describeWith(`on Redis 6.2 an intent ${LONG}`, provideRedis62, (binary) => {
  test('comes back by itself, or is forgotten when it was removed', () => comesBack(binary));
});

/** The least of several times, in ms: whatever else the machine does only adds to it. */
async function least(work: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let time = 0; time < 9; time++) {
    const begunAt = performance.now();
    const done = work();
    best = Math.min(best, performance.now() - begunAt);
    await done;
  }
  return best;
}

test.each([
  ['a day', 86_400_000],
  ['nine seconds', 9_000],
])('100,000 intents with a grace of %s cost a pass next to nothing', async (_grace, graceMs) => {
  const bed = await streamBed();
  const servers = connectKeyServers({ url: bed.server().url }, { name: 'source of link l' });
  onTestFinished(() => servers.close());
  const group = new ConsumerGroup({ servers, stream: STREAM, group: GROUP, consumer: 'c', warn() {} });
  const held = new HeldIntents(group, 10_000);
  const now = Date.now();
  const fields = [Buffer.from('intent'), Buffer.from(`${graceMs}`)];
  const young = Array.from({ length: 100_000 }, (_, index) => ({ id: `${now}-${index}`, fields }));
  for (let at = 0; at < young.length; at += 500) expect(await held.holdYoung(young.slice(at, at + 500))).toEqual([]);
  const pass = await least(() => held.takeRipe(500));
  const copy = await least(() => new Set(young));
  expect(pass / copy).toBeLessThan(0.1);
});
