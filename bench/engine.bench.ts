/**
 * The batched reconcile against what one would write by hand, on the same data. The hand-written
 * loops have no fence, no second look, no guard and no other types of errors: what the engine adds
 * must be paid for by its batches.
 */
import pMap from 'p-map';
import { test } from 'vitest';
import { type KeyRequest, reconcileKeys } from '../src/engine/index.js';
import { DEFAULT_OPTIONS, startLink, type TestLink } from '../test/engine/link.js';
import { report, speedRatio, versions } from './ratio.js';
import { DIGEST, digests, FILLS, fill, mixed, traffic } from './values.js';

const KEYS = 20_000;
const BATCH = 500;
const CONCURRENCY = 4;

const names = Array.from({ length: KEYS }, (_, key) => Buffer.from(`k${key}`));
const requests: KeyRequest[] = names.map((key) => ({ key }));
const batches = Array.from({ length: KEYS / BATCH }, (_, i) => names.slice(i * BATCH, (i + 1) * BATCH));

async function dumps(redis: TestLink['source']['client'], keys: readonly Buffer[]): Promise<[Buffer, number][]> {
  const pipeline = redis.pipeline();
  for (const key of keys) pipeline.dumpBuffer(key).pexpiretime(key);
  const replies = (await pipeline.exec())!.map(([, reply]) => reply);
  return keys.map((_, index) => [replies[2 * index] as Buffer, replies[2 * index + 1] as number]);
}

async function copyByHand(link: TestLink, keys: readonly Buffer[]): Promise<void> {
  const [source, target] = await Promise.all([dumps(link.source.client, keys), dumps(link.target.client, keys)]);
  const writes = link.target.client.pipeline();
  for (const [index, key] of keys.entries()) {
    const [dump, expiry] = source[index]!;
    if (dump.equals(target[index]![0]) && expiry === target[index]![1]) continue;
    writes.restore(key, Math.max(0, expiry), dump, 'REPLACE', 'ABSTTL');
  }
  await writes.exec();
}

async function reconcileAll(link: TestLink, expected: 'equal' | 'repaired'): Promise<void> {
  const results = await reconcileKeys(link.sides, requests, DEFAULT_OPTIONS);
  const wrong = results.find(({ outcome }) => outcome !== expected);
  if (wrong !== undefined) throw new Error(`expected ${expected}, got ${JSON.stringify(wrong)}`);
}

const inBatches = (work: (keys: readonly Buffer[]) => Promise<unknown>) =>
  pMap(batches, work, { concurrency: CONCURRENCY }).then(() => {});

test('engine', async () => {
  const link = await startLink();
  try {
    console.log(await versions(link.source.client));
    for (const [name, how] of Object.entries({ ...FILLS, 'a mix of these': mixed })) {
      await fill(link.source.client, KEYS, how, 'new');
      const prepare = () => fill(link.target.client, KEYS, how, 'old');
      const ratio = await speedRatio(
        { prepare, run: () => reconcileAll(link, 'repaired') },
        { prepare, run: () => inBatches((keys) => copyByHand(link, keys)) },
      );
      report(`diverged ${name}: DUMP, compare, RESTORE by hand`, ratio, 1);
    }
    for (const [name, how] of Object.entries({ ...FILLS, 'a mix of these': mixed })) {
      await Promise.all([fill(link.source.client, KEYS, how, 'same'), fill(link.target.client, KEYS, how, 'same')]);
      const sha = String(await link.source.client.script('LOAD', DIGEST));
      await link.target.client.script('LOAD', DIGEST);
      const prepare = async () => {};
      const byHand = async (keys: readonly Buffer[]) => {
        const [one, other] = await Promise.all([
          digests(link.source.client, sha, keys),
          digests(link.target.client, sha, keys),
        ]);
        // Of equal sets and hashes some differ in their DUMP: by hand one would have to look
        // further at these.
        return one.filter((digest, index) => String(digest) !== String(other[index]));
      };
      const ratio = await speedRatio(
        { prepare, run: () => reconcileAll(link, 'equal') },
        { prepare, run: () => inBatches(byHand) },
      );
      report(`equal ${name}: pipelined digests by hand`, ratio, 0.9);
    }
    await oneMember(link);
  } finally {
    await link.stop();
  }
});

async function oneMember(link: TestLink): Promise<void> {
  await link.clear();
  for (let first = 0; first < 1_000_000; first += 10_000) {
    const members = Array.from({ length: 10_000 }, (_, i) => `member:${first + i}`);
    await Promise.all([link.source, link.target].map(({ client }) => client.sadd('set', ...members)));
  }
  await link.target.client.srem('set', 'member:500000');
  const measure = async (work: () => Promise<unknown>) => {
    const before = await traffic(link.source.client, link.target.client);
    await work();
    const after = await traffic(link.source.client, link.target.client);
    // Asking costs bytes as well: as many as between two questions with nothing in between.
    const again = await traffic(link.source.client, link.target.client);
    return after - before - (again - after);
  };
  const scope = { kind: 'members', members: [Buffer.from('member:500000')] } as const;
  // Once before, so that the servers know the scripts: they are sent once for all keys.
  await link.source.client.sadd('other', 'member:500000', 'more');
  await link.target.client.sadd('other', 'more');
  await reconcileKeys(link.sides, [{ key: Buffer.from('other'), scope }], DEFAULT_OPTIONS);
  const bytes = await measure(async () => {
    const [result] = await reconcileKeys(link.sides, [{ key: Buffer.from('set'), scope }], DEFAULT_OPTIONS);
    if (result!.outcome !== 'repaired') throw new Error(`expected repaired, got ${result!.outcome}`);
  });
  const copied = await measure(async () => {
    const dump = await link.source.client.dumpBuffer('set');
    await link.target.client.restore('set', 0, dump!, 'REPLACE');
  });
  report('one member of a million: bytes of a copy of the whole key', copied / bytes, 1_000);
}
