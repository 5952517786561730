/** Two ways of doing the same, timed in turns, so that what disturbs the machine disturbs both. */
import { arch, cpus } from 'node:os';
import type { Redis } from 'ioredis';
import { expect } from 'vitest';

export interface Contestant {
  /** Not timed: makes the same start for each run. */
  readonly prepare: () => Promise<void>;
  readonly run: () => Promise<void>;
}

/**
 * @returns how many times as fast as `other` the `one` is: the quotient of their median times over
 *   `runs` interleaved runs, after one of each that does not count
 */
export async function speedRatio(one: Contestant, other: Contestant, runs = 7): Promise<number> {
  const times: [number[], number[]] = [[], []];
  for (let run = 0; run <= runs; run++) {
    const order = run % 2 === 0 ? [0, 1] : [1, 0];
    for (const index of order) {
      const { prepare, run: measured } = index === 0 ? one : other;
      await prepare();
      const begun = performance.now();
      await measured();
      if (run > 0) times[index as 0 | 1].push(performance.now() - begun);
    }
  }
  return median(times[1]) / median(times[0]);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** One line about what the figures were measured with. */
export async function versions(redis: Redis): Promise<string> {
  const server = /redis_version:(\S+)/.exec(await redis.info('server'))![1];
  return `Node ${process.version}, Redis ${server}, ${cpus().length} CPUs ${arch()}`;
}

/**
 * Prints one result as a line: `name  1.03  (wanted: at least 1)`. Where it is below, the benchmark
 * goes on, and fails when it has ended.
 */
export function report(name: string, ratio: number, atLeast: number): void {
  const figure = ratio >= 100 ? Math.round(ratio).toLocaleString('en-US') : ratio.toFixed(2);
  const verdict = ratio >= atLeast ? '' : '  BELOW';
  console.log(
    `${name.padEnd(64)} ${figure.padStart(9)}  (wanted: at least ${atLeast.toLocaleString('en-US')})${verdict}`,
  );
  expect.soft(ratio, name).toBeGreaterThanOrEqual(atLeast);
}
