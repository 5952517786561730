/**
 * What keymend does with records, at once: the end of every fault is that both sides are equal
 * again.
 */
import { expect } from 'vitest';
import { isIdempotent } from '../../src/commands/command.js';
import { toRecords } from '../../src/dual-write/records/to-records.js';
import { type KeyRequest, reconcileKeys, scopeOf } from '../../src/engine/index.js';
import { decodeFailedWrite } from '../../src/events/failed-write-codec.js';
import { entryRecord, intentUntil } from '../../src/outbox/entry.js';
import { connectRedis } from '../../src/redis/index.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING } from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';
import { DEFAULT_OPTIONS, type TestLink } from '../engine/link.js';
import { compareRedis } from '../support/compare.js';
import type { RedisServer } from '../support/redis.js';
import { type Bed, settled } from './bed.js';

interface BothSides {
  readonly source: Pick<RedisServer, 'url' | 'client'>;
  readonly target: Pick<RedisServer, 'url' | 'client'>;
}

const POLICY = { settleMs: 0, verify: 'never' } as Parameters<typeof addFailedWrites>[2];

/** Reconciles each key in the part that its records name together. */
export async function repair({ source, target }: BothSides, records: readonly FailedWrite[]): Promise<void> {
  const pending = new Map<string, Pending>();
  for (const record of records) {
    const event = { ...record, idempotent: isIdempotent(record.command ?? '') };
    const id = `${record.encoding}:${record.key}`;
    pending.set(id, addFailedWrites(pending.get(id) ?? NOTHING_PENDING, [event], POLICY, Date.now()));
  }
  // No key is too large for one call.
  const largeValues = { elements: 1_000_000, bytes: 64 * 1024 * 1024 };
  const sides = {
    source: connectRedis({ url: source.url }, { name: 'source', largeValues }),
    target: connectRedis({ url: target.url }, { name: 'target', largeValues }),
  };
  try {
    const requests = [...pending].map(([id, { hint }]): KeyRequest => {
      const [, encoding, key] = /^(\w+):(.*)$/s.exec(id)!;
      const scope = scopeOf(hint);
      return { key: Buffer.from(key!, encoding as BufferEncoding), allowDelete: true, ...(scope && { scope }) };
    });
    for (const result of await reconcileKeys(sides, requests, DEFAULT_OPTIONS)) {
      if (result.outcome === 'failed') throw result.error;
    }
  } finally {
    await Promise.all([sides.source.close(), sides.target.close()]);
  }
}

const OUTBOX = 'keymend:outbox';

/**
 * Does with what the outbox holds what keymend would, at once, and empties it.
 * @returns how many intents there were
 */
export async function repairByOutbox({ source, sides }: Pick<TestLink, 'source' | 'sides'>): Promise<number> {
  const entries = await source.client.xrangeBuffer(OUTBOX, '-', '+');
  const keys = new Map<string, Buffer>();
  let intents = 0;
  for (const [id, fields] of entries) {
    const entry = { id: String(id), fields };
    if (intentUntil(entry) !== null) intents += 1;
    const decoded = decodeFailedWrite(entryRecord(OUTBOX, entry).value);
    if (!decoded.ok) throw new Error(decoded.problem.message);
    keys.set(decoded.key.toString('latin1'), decoded.key);
  }
  const requests = [...keys.values()].map((key) => ({ key, allowDelete: true }));
  for (const result of await reconcileKeys(sides, requests, DEFAULT_OPTIONS)) {
    if (result.outcome === 'failed') throw result.error;
  }
  await source.client.del(OUTBOX);
  return intents;
}

/** Every key that differs, by the comparison that shares nothing with the engine. */
export async function differing({ source, target }: BothSides): Promise<string[]> {
  return (await compareRedis(source.client, target.client)).map(({ key }) => key.toString());
}

/**
 * The records are all that is needed: repaired by them, source and target are equal in every key.
 */
export async function expectEqualAfterRepair(sides: BothSides, records: readonly FailedWrite[]): Promise<void> {
  await repair(sides, records);
  expect(await differing(sides)).toEqual([]);
}

/** What a sweep would make of keys that no record tells of. */
export function swept(keys: readonly string[]): FailedWrite[] {
  return toRecords(
    keys.map((key) => ({ command: 'SET', args: [], keys: [Buffer.from(key)] })),
    { outcome: 'unknown', error: { code: 'SWEPT', message: '' } },
    { link: 'east-to-west', origin: 'sweep' },
  );
}

/**
 * The end of every test with a fault: without the fault, the records of the test are all that is
 * needed.
 */
export async function expectMended(bed: Bed): Promise<void> {
  bed.link.restore();
  await bed.target.client.replicaof('NO', 'ONE');
  await Promise.all(bed.writers.map(settled));
  await expectEqualAfterRepair(bed, bed.sink.records);
}
