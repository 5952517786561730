/**
 * A live writer during the repair is never undone. Several dual writers write strings and fields of
 * shared hashes, and delete them, while the link to the target is slowed, held and cut; what fails
 * is reconciled at once, beside the writers. Every write that either server carries out is recorded
 * by the server itself, and a checker judges the record.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isIdempotent } from '../../src/commands/command.js';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { reconcileKeys, scopeOf } from '../../src/engine/index.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING, putBack } from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';
import { settled } from '../dual-write/bed.js';
import { compareRedis } from '../support/compare.js';
import { violations } from '../support/history.js';
import { POLICY } from '../support/workflow-bed.js';
import { DEFAULT_OPTIONS, intercept, startLink, type TestLink } from './link.js';
import { monitorRegisters, tombstone, valueAt } from './register-monitor.js';

const WRITERS = 4;
const WRITES_EACH = 1_500;
/** Each writer has its own strings, and its own field in each hash. */
const STRINGS_EACH = 3;
const HASHES = ['hash-0', 'hash-1', 'hash-2'];
/** What it takes for a key to be deleted: else the guard would refuse, see delete-guard.test.ts. */
const OPTIONS = { ...DEFAULT_OPTIONS, deleteGuard: { minimumRatio: 0, minimumGap: 1_000 } };

const registersOf = (writer: number) => [
  ...Array.from({ length: STRINGS_EACH }, (_, index) => `string-${writer}-${index}`),
  ...HASHES.map((hash) => `${hash}.field-${writer}`),
];
const REGISTERS = Array.from({ length: WRITERS }, (_, writer) => registersOf(writer)).flat();

let link: TestLink;
let proxy: FaultProxy;
const clients: Redis[] = [];
beforeAll(async () => {
  // So that values can be read in a DUMP.
  link = await startLink(['--rdbcompression', 'no']);
  proxy = await startProxy({ target: { host: '127.0.0.1', port: link.target.port } });
});
afterAll(async () => {
  for (const client of clients) client.disconnect();
  await proxy?.close();
  await link?.stop();
});

const random = (below: number) => Math.floor(Math.random() * below);
const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
/** Lets others go on, now and then for some ms. */
const breathe = (longestMs: number) => (Math.random() < 0.5 ? sleep(random(longestMs + 1)) : Promise.resolve());

/** What is pending for each key, as the workflows of the keys hold it. */
class Pendings {
  readonly #byKey = new Map<string, Pending>();

  readonly sink = {
    publish: async (records: readonly FailedWrite[]) => {
      for (const record of records) {
        const event = { ...record, idempotent: isIdempotent(record.command ?? '') };
        this.#byKey.set(
          record.key,
          addFailedWrites(this.#byKey.get(record.key) ?? NOTHING_PENDING, [event], POLICY, Date.now()),
        );
      }
    },
  };

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Reconciles some of the keys, in the part that their failed writes name. What does not succeed
   * stays pending.
   */
  async reconcileSome(sides: TestLink['sides']): Promise<string[]> {
    const round = [...this.#byKey].filter(() => Math.random() < 0.7);
    for (const [key] of round) this.#byKey.delete(key);
    const requests = round.map(([key, { hint }]) => ({ key: Buffer.from(key), scope: scopeOf(hint) }));
    const results = await reconcileKeys(sides, requests, OPTIONS);
    for (const [index, result] of results.entries()) {
      if (result.outcome !== 'failed') continue;
      if (result.error.type !== 'Contended') throw result.error;
      const [key, pending] = round[index]!;
      this.#byKey.set(key, putBack(pending, this.#byKey.get(key) ?? NOTHING_PENDING));
    }
    return results.map((result) => (result.outcome === 'repaired' ? result.action : result.outcome));
  }
}

async function dualWriter(pendings: Pendings): Promise<DualWriter> {
  const source = new Redis(link.source.port, '127.0.0.1', { protocol: 2 });
  const target = new Redis(proxy.port, '127.0.0.1', { ...mirrorOptions(40), retryStrategy: () => 2 });
  clients.push(source, target);
  // A connection that the proxy breaks before the writer listens.
  target.on('error', () => {});
  await new Promise((resolve) => target.once('ready', resolve));
  return createDualWriter({
    ...{ link: 'test', origin: 'test', records: pendings.sink, source, target },
    onError: (error) => {
      throw error;
    },
  });
}

async function write(redis: DualWriter, registers: readonly string[]): Promise<void> {
  const versions = new Map<string, number>();
  for (let turn = 0; turn < WRITES_EACH; turn++) {
    const register = pick(registers);
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

/** Faults of the network between writers and target, as long as `going` says so. */
async function trouble(going: () => boolean): Promise<void> {
  while (going()) {
    proxy.slow(random(4));
    await sleep(random(20));
    if (Math.random() < 0.5) proxy.swallow();
    await sleep(random(10));
    if (Math.random() < 0.6) proxy.cut();
    await sleep(random(4));
    proxy.restore();
    await sleep(random(10));
  }
}

test('no repair brings back what a client has overwritten or deleted, and all ends equal', async () => {
  const [source, target] = await Promise.all([
    monitorRegisters(link.source.client, REGISTERS),
    monitorRegisters(link.target.client, REGISTERS),
  ]);
  const pendings = new Pendings();
  const writers = await Promise.all(Array.from({ length: WRITERS }, () => dualWriter(pendings)));
  let writing = true;
  const actions: string[] = [];

  const pause = () => breathe(3);
  const slowly = {
    'after inspect': pause,
    'before read': pause,
    'after read': pause,
    'before repair': pause,
    'after repair': pause,
  };
  const sides = { source: intercept(link.sides.source, slowly), target: intercept(link.sides.target, slowly) };
  const reconcile = async () => {
    while (writing || pendings.size > 0) {
      actions.push(...(await pendings.reconcileSome(sides)));
      await breathe(1);
    }
  };
  const writeAll = async () => {
    await Promise.all(writers.map((writer, index) => write(writer, registersOf(index))));
    proxy.restore();
    await Promise.all(writers.map(settled));
    writing = false;
  };
  await Promise.all([writeAll(), trouble(() => writing), reconcile(), reconcile()]);

  expect(violations({ source: await source.finish(), target: await target.finish() })).toEqual([]);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  // Else it would not have been put to the test.
  for (const action of ['restored', 'deleted', 'members', 'equal']) expect(actions).toContain(action);
});
