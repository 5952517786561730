/**
 * Live writers beside repairs: several dual writers write strings and fields of shared hashes, and
 * delete them, while the link to the target is slowed, held and cut. Every write that either server
 * carries out is recorded by the server itself, so that a checker can judge the record.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import type { LinkSides } from '../../src/engine/index.js';
import type { RecordSink } from '../../src/events/record-sink.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { settled } from '../dual-write/bed.js';
import { compareRedis } from '../support/compare.js';
import { violations } from '../support/history.js';
import { DEFAULT_OPTIONS, intercept, startLink, type TestLink } from './link.js';
import { monitorRegisters, tombstone, valueAt } from './register-monitor.js';

/** What it takes for a key to be deleted: else the guard would refuse, see delete-guard.test.ts. */
export const DELETING = { ...DEFAULT_OPTIONS, deleteGuard: { minimumRatio: 0, minimumGap: 1_000 } };

const HASHES = ['hash-0', 'hash-1', 'hash-2'];

export interface Writing {
  readonly writers: number;
  readonly writesEach: number;
  /** Each writer has its own strings, and its own field in each hash. */
  readonly stringsEach: number;
  /** So many further ones of its own, half of its writes, so that many keys fail at once. */
  readonly othersEach: number;
  /** How long a repair stands still now and then, between any two of its steps. */
  readonly longestPauseMs: number;
}

/** What a repair that goes on beside the writers is told of. */
export interface Beside {
  /** Whose steps take a while now and then. */
  readonly sides: LinkSides;
  isWriting(): boolean;
}

export interface LiveBed {
  /**
   * @param repair ends when nobody writes and nothing is left to be repaired
   * @returns where a repair took back what a client had written, and in what the two sides differ
   *   in the end
   */
  run(writing: Writing, records: RecordSink, repair: (beside: Beside) => Promise<unknown>): Promise<Judged>;
  stop(): Promise<void>;
}

interface Judged {
  readonly violations: readonly string[];
  readonly differences: readonly unknown[];
  readonly isPutToTheTest: boolean;
}

export async function startLiveBed(): Promise<LiveBed> {
  // So that values can be read in a DUMP.
  const link = await startLink(['--rdbcompression', 'no']);
  const proxy = await startProxy({ target: { host: '127.0.0.1', port: link.target.port } });
  const clients: Redis[] = [];
  return {
    run: (writing, records, repair) => run({ link, proxy, clients }, writing, records, repair),
    async stop() {
      for (const client of clients) client.disconnect();
      await proxy.close();
      await link.stop();
    },
  };
}

interface Parts {
  readonly link: TestLink;
  readonly proxy: FaultProxy;
  readonly clients: Redis[];
}

const random = (below: number) => Math.floor(Math.random() * below);
const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
/** Lets others go on, now and then for some ms. */
export const breathe = (longestMs: number) => (Math.random() < 0.5 ? sleep(random(longestMs + 1)) : Promise.resolve());

async function run(
  { link, proxy, clients }: Parts,
  writing: Writing,
  records: RecordSink,
  repair: (beside: Beside) => Promise<unknown>,
): Promise<Judged> {
  const registers = Array.from({ length: writing.writers }, (_, writer) => registersOf(writer, writing));
  const all = registers.flatMap(({ often, others }) => [...often, ...others]);
  const [source, target] = await Promise.all([
    monitorRegisters(link.source.client, all),
    monitorRegisters(link.target.client, all),
  ]);
  const writers = await Promise.all(registers.map(() => dualWriter({ link, proxy, clients }, records)));
  let isWriting = true;
  const writeAll = async () => {
    await Promise.all(writers.map((writer, index) => write(writer, registers[index]!, writing.writesEach)));
    proxy.restore();
    await Promise.all(writers.map(settled));
    isWriting = false;
  };
  const beside = { sides: slowly(link.sides, writing.longestPauseMs), isWriting: () => isWriting };
  const mirroredSoFar = () => writers.reduce((sum, writer) => sum + writer.stats().mirrored, 0);
  await Promise.all([writeAll(), trouble(proxy, () => isWriting, mirroredSoFar), repair(beside)]);
  const history = { source: await source.finish(), target: await target.finish() };
  const mirrored = history.target.filter(({ by }) => by === 'client').length;
  return {
    violations: violations(history),
    differences: await compareRedis(link.source.client, link.target.client),
    // Else hardly anything had arrived that a repair could undo.
    isPutToTheTest: mirrored > history.source.length / 20 && mirrored < history.source.length,
  };
}

interface Registers {
  readonly often: readonly string[];
  readonly others: readonly string[];
}

function registersOf(writer: number, { stringsEach, othersEach }: Writing): Registers {
  const strings = (name: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${name}-${writer}-${index}`);
  return {
    often: [...strings('string', stringsEach), ...HASHES.map((hash) => `${hash}.field-${writer}`)],
    others: strings('other', othersEach),
  };
}

function slowly({ source, target }: LinkSides, longestPauseMs: number): LinkSides {
  const pause = () => breathe(longestPauseMs);
  const hooks = {
    'after inspect': pause,
    'before read': pause,
    'after read': pause,
    'before repair': pause,
    'after repair': pause,
  };
  return { source: intercept(source, hooks), target: intercept(target, hooks) };
}

async function dualWriter({ link, proxy, clients }: Parts, records: RecordSink): Promise<DualWriter> {
  const source = new Redis(link.source.port, '127.0.0.1', { protocol: 2 });
  const target = new Redis(proxy.port, '127.0.0.1', { ...mirrorOptions(40), retryStrategy: () => 2 });
  clients.push(source, target);
  // A connection that the proxy breaks before the writer listens.
  target.on('error', () => {});
  await new Promise((resolve) => target.once('ready', resolve));
  return createDualWriter({
    ...{ link: 'test', origin: 'test', records, source, target },
    onError: (error) => {
      throw error;
    },
  });
}

async function write(redis: DualWriter, { often, others }: Registers, writes: number): Promise<void> {
  const versions = new Map<string, number>();
  for (let turn = 0; turn < writes; turn++) {
    const register = pick(others.length > 0 && Math.random() < 0.5 ? others : often);
    const version = (versions.get(register) ?? 0) + 1;
    versions.set(register, version);
    const [key, field] = register.split('.') as [string, string?];
    const deletes = Math.random() < 0.25;
    if (field !== undefined) {
      await (deletes ? redis.hdel(key, field, tombstone(version)) : redis.hset(key, field, valueAt(register, version)));
    } else {
      await (deletes ? redis.del(key, tombstone(version)) : redis.set(key, valueAt(register, version)));
    }
    if (turn % 5 === 0) await breathe(3);
  }
}

/**
 * Faults of the network between writers and target, as long as `going` says so. After each, writers
 * get through again, however busy the machine is: a repair can undo only what has arrived.
 */
async function trouble(proxy: FaultProxy, going: () => boolean, mirrored: () => number): Promise<void> {
  while (going()) {
    proxy.slow(random(4));
    await sleep(random(20));
    if (Math.random() < 0.5) proxy.swallow();
    await sleep(random(10));
    if (Math.random() < 0.6) proxy.cut();
    await sleep(random(4));
    proxy.restore();
    const enough = mirrored() + random(400);
    while (going() && mirrored() < enough) await sleep(5);
  }
}
