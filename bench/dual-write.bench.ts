/**
 * What an application feels of dual writing: a DualWriter on the source against plain ioredis on the same server, in turns.
 * Load comes as in an application: so many requests at a time, each waiting for its own reply.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { test } from 'vitest';
import { createDualWriter, type DualWriter } from '../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../src/dual-write/mirror.js';
import type { DualWriterOptions } from '../src/dual-write/options.js';
import { freePort, type RedisServer, startRedis } from '../test/support/redis.js';
import { median, report, versions } from './ratio.js';

/** Interleaved pairs of runs, after one pair that does not count. */
const PAIRS = 15;
const KEYS = 1_000;
const VALUE = 'v'.repeat(100);
const TIMEOUT_MS = 1_000;

/** As an application asks: `clients` at a time, `perSecond` altogether; without it as fast as replies come. */
interface Load {
  readonly name: string;
  readonly clients: number;
  readonly writes: number;
  readonly perSecond?: number;
}

const BUSY: Load = { name: 'as fast as replies come', clients: 16, writes: 20_000 };
const STEADY: Load = { name: '2,000 writes/s', clients: 50, writes: 2_000, perSecond: 2_000 };

/** Not counted: what a new client or writer runs first, before its code is compiled. A process lives longer than a run. */
const WARM_UP: Load = { name: 'warm-up', clients: 16, writes: 10_000 };

interface Figures {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/** @returns writes per second, and the percentiles of the time from a call to its reply in ms */
async function measure(redis: Redis, { clients, writes, perSecond }: Load): Promise<Figures> {
  const latencies = new Float64Array(writes);
  let next = 0;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (next < writes) {
        const index = next++;
        const due = perSecond === undefined ? 0 : begun + (index * 1000) / perSecond - performance.now();
        if (due > 1) await sleep(due);
        const asked = performance.now();
        await redis.set(`k${index % KEYS}`, VALUE);
        latencies[index] = performance.now() - asked;
      }
    }),
  );
  const seconds = (performance.now() - begun) / 1000;
  latencies.sort();
  return {
    perSecond: writes / seconds,
    p50: latencies[Math.floor(writes * 0.5)]!,
    p99: latencies[Math.floor(writes * 0.99)]!,
  };
}

interface Bench {
  readonly source: RedisServer;
  readonly target: RedisServer;
  /** Where nobody listens. */
  readonly deadPort: number;
}

/** One way of dual writing under one condition of the target. */
interface Case {
  readonly name: string;
  readonly options?: Partial<DualWriterOptions>;
  readonly target: 'healthy' | 'dead' | 'half-open';
}

/** A further mode of the writer is one more line with its options. */
const CASES: readonly Case[] = [
  { name: 'healthy', target: 'healthy' },
  { name: 'target dead, breaker open', target: 'dead' },
  // It takes every byte and answers nothing. The writes of a run are given up when it is over, or near its end.
  { name: 'target half-open, breaker closed', target: 'half-open' },
];

async function withWriter(
  { source, target, deadPort }: Bench,
  measured: Case,
  use: (writer: DualWriter) => Promise<Figures>,
): Promise<Figures> {
  const dead = measured.target === 'dead';
  const sourceClient = new Redis(source.port, '127.0.0.1');
  const mirror = new Redis(dead ? deadPort : target.port, '127.0.0.1', mirrorOptions(TIMEOUT_MS));
  const writer = createDualWriter({
    link: 'east-to-west',
    source: sourceClient,
    target: mirror,
    // What a sink costs is its own matter.
    records: { publish: async () => {} },
    origin: 'bench',
    onError(error) {
      throw error;
    },
    ...measured.options,
  });
  await Promise.all([sourceClient, ...(dead ? [] : [mirror])].map(ready));
  try {
    while (dead && writer.stats().shards[0]!.breaker !== 'open') await writer.set('k', VALUE);
    await measure(writer, WARM_UP);
    if (measured.target === 'half-open') target.freeze();
    return await use(writer);
  } finally {
    target.thaw();
    await writer.close({ timeoutMs: 500 });
    for (const client of [sourceClient, mirror]) client.disconnect();
  }
}

function ready(client: Redis): Promise<void> {
  return new Promise((resolve) => client.once('ready', () => resolve()));
}

async function withPlain({ source }: Bench, use: (redis: Redis) => Promise<Figures>): Promise<Figures> {
  const redis = new Redis(source.port, '127.0.0.1');
  await ready(redis);
  try {
    await measure(redis, WARM_UP);
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

async function compare(bench: Bench, measured: Case, load: Load): Promise<void> {
  const plain: Figures[] = [];
  const dual: Figures[] = [];
  for (let pair = 0; pair <= PAIRS; pair++) {
    const runs = [
      async () => plain.push(await withPlain(bench, (redis) => measure(redis, load))),
      async () => dual.push(await withWriter(bench, measured, (redis) => measure(redis, load))),
    ];
    for (const run of pair % 2 === 0 ? runs : runs.toReversed()) await run();
    if (pair === 0) plain.length = dual.length = 0;
  }
  const of = (figures: readonly Figures[], name: keyof Figures) => median(figures.map((figure) => figure[name]));
  const title = `${measured.name}, ${load.name}`;
  const ms = (name: 'p50' | 'p99') => `${of(plain, name).toFixed(2)} and ${of(dual, name).toFixed(2)} ms`;
  console.log(
    `${title}: plain and dual ${Math.round(of(plain, 'perSecond'))} and ${Math.round(of(dual, 'perSecond'))} writes/s, ` +
      `p50 ${ms('p50')}, p99 ${ms('p99')}`,
  );
  if (load.perSecond === undefined) {
    report(`  throughput, dual : plain`, of(dual, 'perSecond') / of(plain, 'perSecond'), 0);
  }
  report(`  p50, plain : dual`, of(plain, 'p50') / of(dual, 'p50'), 0);
  report(`  p99, plain : dual`, of(plain, 'p99') / of(dual, 'p99'), load === STEADY ? 1 / 1.1 : 0);
}

test('dual write', async () => {
  const [source, target] = await Promise.all([startRedis(), startRedis()]);
  const bench = { source, target, deadPort: await freePort() };
  try {
    console.log(`${await versions(source.client)}; SET of ${VALUE.length} bytes`);
    for (const load of [STEADY, BUSY]) {
      for (const measured of CASES) await compare(bench, measured, load);
    }
  } finally {
    await Promise.all([source.stop(), target.stop()]);
  }
});
