/**
 * What an application feels of dual writing: a DualWriter on the source against plain ioredis on
 * the same server, in short turns. A second plain client has its turns too: how far it is from the
 * first is what the machine does, not the DualWriter.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { test } from 'vitest';
import { createDualWriter, type DualWriter } from '../src/dual-write/dual-writer.js';
import type { DualWriterOptions } from '../src/dual-write/options.js';
import { mirrorOptions } from '../src/dual-write/target/mirror-options.js';
import { freePort, type RedisServer, startRedis } from '../test/support/redis.js';
import { arriving, percentile, type Run, saturating, VALUE } from './load.js';
import { median, report, versions } from './ratio.js';

/** Turns of each client: three of each order. */
const TURNS = 18;
/** So far away is a server that is not on this machine, in ms for each direction. */
const FAR_MS = 1;

/** What is promised of a figure of the DualWriter and of plain ioredis. */
interface Promised {
  readonly figure: 'p99, plain : dual' | 'throughput, dual : plain';
  readonly atLeast: number;
}

/** One way of dual writing under one condition of the target. */
interface Case {
  readonly name: string;
  readonly load: 'arriving' | 'saturating';
  readonly target: 'healthy' | 'dead' | 'half-open';
  /** Source and target both. */
  readonly far?: true;
  readonly options?: Partial<DualWriterOptions>;
  readonly promises: readonly Promised[];
}

/** p99 of the DualWriter is within 1.1 times of plain ioredis. */
const LATENCY = [{ figure: 'p99, plain : dual', atLeast: 0.91 }] as const;
const throughput = (atLeast: number) => ({ figure: 'throughput, dual : plain', atLeast }) as const;

/** A further mode of the writer is one more line with its options. */
const CASES: readonly Case[] = [
  { name: '1 ms away, target healthy', load: 'arriving', target: 'healthy', far: true, promises: LATENCY },
  { name: '1 ms away, target dead', load: 'arriving', target: 'dead', far: true, promises: LATENCY },
  // It takes every byte and answers nothing. What is sent to it is given up only when all is
  // measured.
  { name: '1 ms away, target half-open', load: 'arriving', target: 'half-open', far: true, promises: LATENCY },
  { name: 'saturated, target healthy', load: 'saturating', target: 'healthy', promises: [throughput(0.85)] },
  { name: 'saturated, target dead', load: 'saturating', target: 'dead', promises: [throughput(0.8)] },
  {
    name: 'saturated, transactional',
    load: 'saturating',
    target: 'healthy',
    options: { transactional: {} },
    promises: [throughput(0.6), { figure: 'p99, plain : dual', atLeast: 0.5 }],
  },
];

/**
 * `arriving`: at the moments of an application, of which the source's latency is the greatest part.
 * `saturating`: as fast as replies come, so that whatever is done besides makes it slower.
 */
const LOADS: Readonly<Record<Case['load'], (redis: Redis, turn: number) => Promise<Run>>> = {
  arriving: (redis, turn) => arriving(redis, 2_000, 1_000, turn + 1),
  saturating: (redis) => saturating(redis, 16, 8_000),
};
/** Not counted: what a new client runs first, before its code is compiled. */
const warmUp = (redis: Redis) => saturating(redis, 16, 10_000);

interface Contestants {
  readonly plain: Redis;
  readonly again: Redis;
  readonly dual: DualWriter;
}
type Name = keyof Contestants;
/** All: who comes behind whom matters too. */
const ORDERS: readonly (readonly Name[])[] = [
  ['plain', 'dual', 'again'],
  ['dual', 'again', 'plain'],
  ['again', 'plain', 'dual'],
  ['again', 'dual', 'plain'],
  ['plain', 'again', 'dual'],
  ['dual', 'plain', 'again'],
];

interface Bench {
  readonly source: RedisServer;
  readonly target: RedisServer;
  /** Where nobody listens. */
  readonly deadPort: number;
}

async function withContestants(
  { source, target, deadPort }: Bench,
  measured: Case,
  use: (contestants: Contestants) => Promise<void>,
): Promise<void> {
  const dead = measured.target === 'dead';
  const ways: ChildProcess[] = [];
  const reach = async (port: number) => {
    if (!measured.far) return port;
    const way = await startWay(port);
    ways.push(way.process);
    return way.port;
  };
  const [sourcePort, targetPort] = await Promise.all([reach(source.port), reach(target.port)]);
  const [plain, again, own] = [0, 1, 2].map(() => new Redis(sourcePort, '127.0.0.1')) as [Redis, Redis, Redis];
  // A half-open target must not be found out while it is measured.
  const options = mirrorOptions(measured.target === 'half-open' ? 300_000 : 1_000);
  const mirror = new Redis(dead ? deadPort : targetPort, '127.0.0.1', options);
  const dual = createDualWriter({
    link: 'east-to-west',
    source: own,
    target: mirror,
    // What a sink costs is its own matter.
    records: { publish: async () => {} },
    origin: 'bench',
    onError(error) {
      throw error;
    },
    ...measured.options,
  });
  try {
    await Promise.all([plain, again, own, ...(dead ? [] : [mirror])].map(ready));
    while (dead && dual.stats().shards[0]!.breaker !== 'open') await dual.set('k', VALUE);
    for (const client of [plain, again, dual]) await warmUp(client);
    if (measured.target === 'half-open') target.freeze();
    await use({ plain, again, dual });
  } finally {
    target.thaw();
    await dual.close({ timeoutMs: 500 });
    for (const client of [plain, again, own, mirror]) client.disconnect();
    for (const way of ways) way.disconnect();
  }
}

function ready(client: Redis): Promise<void> {
  return new Promise((resolve) => client.once('ready', () => resolve()));
}

async function startWay(port: number): Promise<{ process: ChildProcess; port: number }> {
  const program = fileURLToPath(new URL('./far-away.js', import.meta.url));
  const argument = JSON.stringify({ host: '127.0.0.1', port, delayMs: FAR_MS });
  const way = fork(program, [argument], { execArgv: [] });
  const [listening] = (await once(way, 'message')) as [number];
  return { process: way, port: listening };
}

async function takeTurns(contestants: Contestants, load: Case['load']): Promise<Record<Name, Run[]>> {
  const runs: Record<Name, Run[]> = { plain: [], again: [], dual: [] };
  for (let turn = 0; turn < TURNS; turn++) {
    for (const name of ORDERS[turn % ORDERS.length]!) {
      runs[name].push(await LOADS[load](contestants[name] as Redis, turn));
    }
  }
  return runs;
}

/** How a client compares with the plain one: 1 is as good. */
const FIGURES: Readonly<Record<Promised['figure'], (plain: readonly Run[], other: readonly Run[]) => number>> = {
  'p99, plain : dual': (plain, other) => median(plain.map(p99)) / median(other.map(p99)),
  'throughput, dual : plain': (plain, other) => median(other.map(speed)) / median(plain.map(speed)),
};
const p99 = ({ latencies }: Run) => percentile(latencies, 0.99);
const speed = ({ writesPerSecond }: Run) => writesPerSecond;

test('dual write', async () => {
  const [source, target] = await Promise.all([startRedis(), startRedis()]);
  const bench = { source, target, deadPort: await freePort() };
  try {
    console.log(`${await versions(source.client)}; SET of ${VALUE.length} bytes; medians of ${TURNS} turns`);
    console.log('in brackets: the same of two plain clients, which is what the machine does');
    for (const measured of CASES) {
      await withContestants(bench, measured, async (contestants) => {
        const { plain, dual, again } = await takeTurns(contestants, measured.load);
        for (const { figure, atLeast } of measured.promises) {
          const compare = FIGURES[figure];
          report(`${measured.name}: ${figure} (${compare(plain, again).toFixed(2)})`, compare(plain, dual), atLeast);
        }
      });
    }
  } finally {
    await Promise.all([source.stop(), target.stop()]);
  }
});
