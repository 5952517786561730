/**
 * Single keys while a surge goes on in the same worker: from the record in Kafka until the target
 * has the value. Their records come in another topic than the surge's, for in one partition they
 * are behind it in the log.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Producer } from 'kafkajs';
import { test } from 'vitest';
import { percentile } from './load.js';
import { median, report, versions } from './ratio.js';
import { produce, recordsOf, withRunning } from './running.js';

const TURNS = 3;
const SINGLES = 100;
const APART_MS = 60;
/** Sent again and again while the single keys come. */
const SURGE_KEYS = 20_000;

const surging = Array.from({ length: SURGE_KEYS }, (_, index) => `surging:${index}`);

test('single keys beside a surge', () =>
  withRunning({ topics: ['surge', 'everyday'], surgeFrom: 1_000 }, async (running) => {
    const { producer, source, target, batchesEnded } = running;
    console.log(`${await versions(source)}, ${TURNS} turns of ${SINGLES} keys, ${APART_MS} ms apart`);
    await source.mset(surging.flatMap((key) => [key, `value of ${key}`]));
    const p99: { alone: number[]; beside: number[] } = { alone: [], beside: [] };
    let surged = 0;
    for (let turn = 0; turn <= TURNS; turn++) {
      const alone = await singles(`${turn}a`, producer, source, target);
      const ended = new AbortController();
      const surge = (async () => {
        while (!ended.signal.aborted) {
          await target.unlink(...surging);
          await produce(producer, 'surge', recordsOf('surge', surging));
          while (!ended.signal.aborted && (await target.exists(...surging)) < SURGE_KEYS) await sleep(50);
          surged += SURGE_KEYS;
        }
      })();
      await sleep(1_000);
      const beside = await singles(`${turn}b`, producer, source, target);
      ended.abort();
      await surge;
      await batchesEnded();
      if (turn === 0) continue;
      p99.alone.push(alone);
      p99.beside.push(beside);
    }
    const [alone, beside] = [median(p99.alone), median(p99.beside)];
    console.log(
      `p99 of a key: ${alone.toFixed(0)} ms alone, ${beside.toFixed(0)} ms beside a surge (${surged} keys in all)`,
    );
    report('p99 of a key alone: beside a surge', alone / beside, 1 / 1.5);
  }));

/** @returns the p99, in ms */
async function singles(name: string, producer: Producer, source: Redis, target: Redis): Promise<number> {
  const latencies = new Float64Array(SINGLES);
  const waiting = new Map<string, { index: number; sentAt: number }>();
  let sent = 0;
  const sending = (async () => {
    for (; sent < SINGLES; sent++) {
      const key = `single:${name}:${sent}`;
      await source.set(key, 'value');
      waiting.set(key, { index: sent, sentAt: performance.now() });
      await produce(producer, 'everyday', recordsOf('everyday', [key]));
      await sleep(APART_MS);
    }
  })();
  while (sent < SINGLES || waiting.size > 0) {
    await sleep(5);
    const keys = [...waiting.keys()];
    if (keys.length === 0) continue;
    const values = await target.mget(keys);
    for (const [index, key] of keys.entries()) {
      if (values[index] === null) continue;
      const { index: at, sentAt } = waiting.get(key)!;
      latencies[at] = performance.now() - sentAt;
      waiting.delete(key);
    }
  }
  await sending;
  return percentile(latencies, 0.99);
}
