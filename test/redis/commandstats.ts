/** What a server says it has executed, and how much of that fell into any one second. */
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

/** A stretch of time in which this machine let one of the processes wait. */
export interface Standstill {
  readonly from: number;
  readonly to: number;
}

const STANDSTILL_MS = 25;
/** What was held up is still done for a while after it. */
const AFTERWARDS_MS = 30;

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

/**
 * How long a server has been at work itself so far, in µs: on a busy machine its commands last
 * longer, because it waits.
 */
export async function workedUs({ client }: RedisServer): Promise<number> {
  const seconds = [...(await client.info('cpu')).matchAll(/^used_cpu_(?:user|sys):([\d.]+)/gm)];
  return seconds.reduce((total, [, each]) => total + 1e6 * Number(each), 0);
}

/**
 * How long its commands lasted at least, in µs, since `CONFIG RESETSTAT`: the scripts, or if that
 * is more, all others. Together they would be too much, because what scripts run is among the
 * others.
 */
export async function lastedUs({ client }: RedisServer): Promise<number> {
  const lasted = { scripts: 0, others: 0 };
  for (const [, name, us] of (await client.info('commandstats')).matchAll(/cmdstat_([^:]+):calls=\d+,usec=(\d+)/g)) {
    lasted[name!.startsWith('eval') ? 'scripts' : 'others'] += Number(us);
  }
  return Math.max(lasted.scripts, lasted.others);
}

/** Samples all the time while `run` runs, a few ms apart. */
export async function watch(target: RedisServer, run: () => Promise<void>): Promise<Sample[]> {
  const samples = [await sample(target)];
  let running = true;
  const sampling = (async () => {
    while (running) {
      await sleep(4);
      samples.push(await sample(target));
    }
  })();
  // Heard where it is awaited: a run that ends in another way takes the server with it.
  sampling.catch(() => {});
  try {
    await run();
  } finally {
    running = false;
    await sampling;
  }
  return samples;
}

/** Where samples are far apart, the sampler or the server stood still. */
export function gaps(samples: readonly Sample[], longerThanMs = STANDSTILL_MS): Standstill[] {
  return samples
    .slice(1)
    .map(({ at }, index) => ({ from: samples[index]!.at, to: at }))
    .filter(({ from, to }) => to - from > longerThanMs);
}

/**
 * What is leased is fresh for 30 ms. Of that an answer and a timer may each be late; less than this
 * of both takes nothing away.
 */
const LATE_MS = 12;
const MOST_TRIES = 20;

/**
 * For what holds only while the machine lets this process and the server run: it gets a further try
 * where one of them was seen to stand still in the one that failed, and nowhere else.
 * @param attempt must be one that can be made again
 * @throws what an attempt threw in which both ran all the time
 */
export async function unlessHeldUp(target: RedisServer, attempt: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    let failure: unknown;
    const samples = await watch(target, () =>
      attempt().then(
        () => {},
        (error) => {
          failure = error ?? new Error('no reason');
        },
      ),
    );
    if (failure === undefined) return;
    if (tries === MOST_TRIES || gaps(samples, LATE_MS).length === 0) throw failure;
  }
}

export interface Second {
  readonly from: number;
  readonly to: number;
  readonly operations: number;
  /**
   * What was held up for so long may have been executed in this second instead of the one before.
   */
  readonly heldUpMs: number;
}

/** For each sample, what was executed since the earliest one at most a second before it. */
export function seconds(samples: readonly Sample[], standstills: readonly Standstill[]): Second[] {
  let oldest = 0;
  return samples.map(({ at, operations }) => {
    while (samples[oldest]!.at < at - 1_000) oldest++;
    const from = samples[oldest]!.at;
    const touching = standstills.filter((each) => each.from < at && each.to + AFTERWARDS_MS > from);
    const heldUpMs = Math.max(0, ...touching.map((each) => each.to - each.from));
    return { from, to: at, operations: operations - samples[oldest]!.operations, heldUpMs };
  });
}

/** Operations per second over the whole time but what standstills took of it. */
export function calmRate(samples: readonly Sample[], standstills: readonly Standstill[]): number {
  const [first, last] = [samples[0]!, samples.at(-1)!];
  let [lost, until] = [0, first.at];
  for (const { from, to } of [...standstills].sort((a, b) => a.from - b.from)) {
    const end = Math.min(to + AFTERWARDS_MS, last.at);
    lost += Math.max(0, end - Math.max(until, from));
    until = Math.max(until, end);
  }
  return ((last.operations - first.operations) / (last.at - first.at - lost)) * 1_000;
}
