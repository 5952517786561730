/** What a server says it has executed. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisServer } from '../support/redis.js';

export interface Sample {
  /** The server's clock, in ms. */
  readonly at: number;
  /** Calls of each command so far, those inside scripts included. */
  readonly calls: ReadonlyMap<string, number>;
  /** All calls so far, except those for samples. */
  readonly operations: number;
}

/** Clock and counters come from one command, so they belong to one moment. */
export async function sample({ client }: RedisServer): Promise<Sample> {
  const info = String(await client.call('INFO', 'server', 'commandstats'));
  const calls = new Map(
    [...info.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)].map(([, command, count]) => [command!, Number(count)]),
  );
  calls.delete('info');
  return {
    at: Number(/server_time_usec:(\d+)/.exec(info)![1]) / 1_000,
    calls,
    operations: [...calls.values()].reduce((total, count) => total + count, 0),
  };
}

/** Samples all the time while `run` runs. */
export async function watch(target: RedisServer, run: () => Promise<void>): Promise<Sample[]> {
  const samples = [await sample(target)];
  let running = true;
  const sampling = (async () => {
    while (running) {
      await sleep(5);
      samples.push(await sample(target));
    }
  })();
  try {
    await run();
  } finally {
    running = false;
    await sampling;
  }
  return samples;
}

export interface Window {
  readonly from: number;
  readonly to: number;
  readonly operations: number;
}

/** For each sample, what was executed since the earliest one at most a second before it. */
export function seconds(samples: readonly Sample[]): Window[] {
  let oldest = 0;
  return samples.map(({ at, operations }) => {
    while (samples[oldest]!.at < at - 1_000) oldest++;
    return { from: samples[oldest]!.at, to: at, operations: operations - samples[oldest]!.operations };
  });
}

/** Operations per second over all samples. */
export function average(samples: readonly Sample[]): number {
  const [first, last] = [samples[0]!, samples.at(-1)!];
  return ((last.operations - first.operations) / (last.at - first.at)) * 1_000;
}
