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

/** Turns of each client. */
const TURNS = 24;
/** So far away is a server that is not on this machine, in ms for each direction. */
const FAR_MS = 1;

/** One way of dual writing under one condition of the target. */
interface Case {
  readonly name: string;
  readonly options?: Partial<DualWriterOptions>;
  readonly target: 'healthy' | 'dead' | 'half-open';
  /** Source and target both. */
  readonly far?: true;
  /** Whether it is promised that the application feels the source's latency alone. */
  readonly promised: boolean;
}

/** A further mode of the writer is one more line with its options. */
const CASES: readonly Case[] = [
  { name: 'healthy', target: 'healthy', promised: true },
  { name: 'healthy, source and target about 1 ms away', target: 'healthy', far: true, promised: true },
  { name: 'transactional', target: 'healthy', options: { transactional: {} }, promised: false },
  { name: 'target dead, breaker open', target: 'dead', promised: true },
  { name: 'target dead, breaker open, source about 1 ms away', target: 'dead', far: true, promised: true },
  // It takes every byte and answers nothing. What is sent to it is given up only when all is
  // measured.
  { name: 'target half-open, breaker closed', target: 'half-open', promised: true },
  {
    name: 'target half-open, breaker closed, source and target about 1 ms away',
    target: 'half-open',
    far: true,
    promised: true,
  },
];

/** p99 of the DualWriter is within 1.1 times of plain ioredis. */
const PROMISE = 1 / 1.1;

interface Load {
  readonly name: string;
  /**
   * As fast as replies come there is no latency of the source alone: whatever is done besides makes
   * it slower.
   */
  readonly saturates: boolean;
  run(redis: Redis, turn: number): Promise<Run>;
}

const LOADS: readonly Load[] = [
  { name: '2,000 writes/s', saturates: false, run: (redis, turn) => arriving(redis, 2_000, 1_000, turn + 1) },
  { name: 'as fast as replies come', saturates: true, run: (redis) => saturating(redis, 16, 8_000) },
];
/** Not counted: what a new client runs first, before its code is compiled. */
const warmUp = (redis: Redis) => saturating(redis, 16, 10_000);

interface Contestants {
  readonly plain: Redis;
  readonly again: Redis;
  readonly dual: DualWriter;
}
type Name = keyof Contestants;
const NAMES: readonly Name[] = ['plain', 'dual', 'again'];
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

async function takeTurns(contestants: Contestants, load: Load): Promise<Record<Name, Run[]>> {
  const runs: Record<Name, Run[]> = { plain: [], again: [], dual: [] };
  for (let turn = 0; turn < TURNS; turn++) {
    for (const name of ORDERS[turn % ORDERS.length]!) {
      runs[name].push(await load.run(contestants[name] as Redis, turn));
    }
  }
  return runs;
}

/** Of the turns that were least disturbed by whatever else the machine does. */
function lowerQuartile(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 2]!;
}

function print(measured: Case, load: Load, runs: Record<Name, Run[]>): void {
  const latency = (share: number) => (run: Run) => percentile(run.latencies, share);
  const speed = (run: Run) => run.writesPerSecond;
  const three = (figure: (run: Run) => number, digits: number) =>
    NAMES.map((name) => median(runs[name].map(figure)).toFixed(digits)).join(' / ');
  console.log(`${measured.name}, ${load.name}: plain / dual / plain again`);
  console.log(`  p50 ${three(latency(0.5), 2)} ms, p99 ${three(latency(0.99), 2)} ms`);
  console.log(`  CPU ${three((run) => run.cpuPerWrite, 0)} µs a write, ${three(speed, 0)} writes/s`);
  const ratio = (one: Name, other: Name, figure: (run: Run) => number, of = median) =>
    of(runs[one].map(figure)) / of(runs[other].map(figure));
  const wanted = measured.promised && !load.saturates ? PROMISE : 0;
  report('  p50, plain : dual', ratio('plain', 'dual', latency(0.5)), 0);
  report('  p99, plain : dual', ratio('plain', 'dual', latency(0.99)), wanted);
  report('  p99, plain : plain again', ratio('plain', 'again', latency(0.99)), 0);
  report('  p99 of quiet turns, plain : dual', ratio('plain', 'dual', latency(0.99), lowerQuartile), 0);
  report('  p99 of quiet turns, plain : plain again', ratio('plain', 'again', latency(0.99), lowerQuartile), 0);
  if (load.saturates) report('  throughput, dual : plain', ratio('dual', 'plain', speed), 0);
}

test('dual write', async () => {
  const [source, target] = await Promise.all([startRedis(), startRedis()]);
  const bench = { source, target, deadPort: await freePort() };
  try {
    console.log(`${await versions(source.client)}; SET of ${VALUE.length} bytes; medians of ${TURNS} turns`);
    for (const load of LOADS) {
      for (const measured of CASES) {
        await withContestants(bench, measured, async (contestants) =>
          print(measured, load, await takeTurns(contestants, load)),
        );
      }
    }
  } finally {
    await Promise.all([source.stop(), target.stop()]);
  }
});
