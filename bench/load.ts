/** Writes as an application sends them, and what it felt of each. */
import { Worker } from 'node:worker_threads';
import type { Redis } from 'ioredis';

const KEYS = 1_000;
export const VALUE = 'v'.repeat(100);

export interface Run {
  /**
   * From when the request arrived to its reply, in ms: what waits because the process is busy
   * counts too.
   */
  readonly latencies: Float64Array;
  readonly writesPerSecond: number;
}

/**
 * So many requests a second, each at its own random moment, whether those before it were answered
 * or not.
 */
export function arriving(redis: Redis, perSecond: number, writes: number, seed: number): Promise<Run> {
  const workerData = { perSecond, count: writes, seed };
  return measured(writes, (latencies) => {
    const clock = new Worker(new URL('./arrivals.js', import.meta.url), { workerData });
    let sent = 0;
    let open = writes;
    return new Promise<void>((resolve, reject) => {
      clock.once('error', reject);
      clock.on('message', (arrivedAt: number) => {
        const index = sent++;
        redis.set(`k${index % KEYS}`, VALUE).then(() => {
          latencies[index] = performance.timeOrigin + performance.now() - arrivedAt;
          open -= 1;
          if (open === 0) resolve();
        }, reject);
      });
    });
  });
}

/** So many requests at a time, the next as soon as one is answered. */
export function saturating(redis: Redis, clients: number, writes: number): Promise<Run> {
  return measured(writes, async (latencies) => {
    let next = 0;
    const client = async () => {
      while (next < writes) {
        const index = next++;
        const askedAt = performance.now();
        await redis.set(`k${index % KEYS}`, VALUE);
        latencies[index] = performance.now() - askedAt;
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
  });
}

async function measured(writes: number, run: (latencies: Float64Array) => Promise<void>): Promise<Run> {
  const latencies = new Float64Array(writes);
  const begun = performance.now();
  await run(latencies);
  const seconds = (performance.now() - begun) / 1000;
  return { latencies, writesPerSecond: writes / seconds };
}

/** @param share between 0 and 1 */
export function percentile(latencies: Float64Array, share: number): number {
  return latencies.toSorted()[Math.floor(latencies.length * share)]!;
}
