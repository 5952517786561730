/**
 * A thousand keys of a million have diverged, and their failed writes were recorded: from Kafka to
 * converged, against a copy of all keys by SCAN, DUMP and RESTORE, which needs no record. With
 * `surge: { enter: 100 }`: at the default each of a thousand keys has a workflow of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { test } from 'vitest';
import { median, report, speedRatio, versions } from './ratio.js';
import { produce, recordsOf, withRunning } from './running.js';
import { FILLS, fill } from './values.js';

const KEYS = 1_000_000;
const DIVERGED = 1_000;
const TURNS = 3;
const PAGE = 1_000;

const diverged = Array.from({ length: DIVERGED }, (_, index) => `k${index * (KEYS / DIVERGED)}`);

test('a thousand diverged keys', () =>
  withRunning({ topics: ['few'], surgeFrom: 100 }, async ({ producer, source, target, batchesEnded }) => {
    console.log(`${await versions(source)}, ${TURNS} turns, ${DIVERGED} diverged of ${KEYS} keys`);
    for (const side of [source, target]) await fill(side, KEYS, FILLS.strings!, 'same');
    const times: { repair: number[]; copy: number[] } = { repair: [], copy: [] };
    const timed = async (name: 'repair' | 'copy', work: () => Promise<void>) => {
      const begun = performance.now();
      await work();
      times[name].push((performance.now() - begun) / 1_000);
    };
    const prepare = async () => {
      await batchesEnded();
      await target.mset(diverged.flatMap((key) => [key, 'diverged']));
    };
    const ratio = await speedRatio(
      {
        prepare,
        run: () =>
          timed('repair', async () => {
            await produce(producer, 'few', recordsOf('few', diverged));
            while (await differ(source, target)) await sleep(5);
          }),
      },
      { prepare, run: () => timed('copy', () => copyAll(source, target)) },
      TURNS,
    );
    console.log(`repaired in ${median(times.repair).toFixed(2)} s, copied in ${median(times.copy).toFixed(1)} s`);
    report(`${DIVERGED} diverged of ${KEYS}, time of a copy of all: to converged`, ratio, 50);
  }));

async function differ(source: Redis, target: Redis): Promise<boolean> {
  const [ours, theirs] = await Promise.all([source.mget(diverged), target.mget(diverged)]);
  return ours.some((value, index) => value !== theirs[index]);
}

/** The next page is read while the one before is written. */
async function copyAll(source: Redis, target: Redis): Promise<void> {
  let written: Promise<unknown> = Promise.resolve();
  for (let cursor: string | null = '0'; cursor !== null; ) {
    const [next, keys]: [Buffer, Buffer[]] = await source.scanBuffer(cursor, 'COUNT', PAGE);
    const pipeline = source.pipeline();
    for (const key of keys) pipeline.dumpBuffer(key).pttl(key);
    const replies = (await pipeline.exec())!.map(([, reply]) => reply);
    await written;
    const copies = target.pipeline();
    for (const [index, key] of keys.entries())
      copies.restore(key, Math.max(0, replies[2 * index + 1] as number), replies[2 * index] as Buffer, 'REPLACE');
    written = copies.exec();
    cursor = String(next) === '0' ? null : String(next);
  }
  await written;
}
