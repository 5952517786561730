/** Values that the target will never take: said to be `Unsupported`, with the reason. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyResult, LinkMemory, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import { DEFAULT_OPTIONS, reconcileOne, startLink, type TestLink } from './link.js';

const MIB = 1_048_576;
/** DUMP compresses what repeats. */
function noise(bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  let state = 1;
  for (let at = 0; at < bytes; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    value[at] = state >>> 16;
  }
  return value;
}
const BIG = noise(3 * MIB);

let link: TestLink;
afterAll(() => link?.stop());
beforeEach(() => link?.clear());

async function reconcileAny(sides = link.sides, key = 'k'): Promise<KeyResult> {
  const result = await reconcileOne(sides, key);
  if (result.outcome !== 'large') return result;
  return reconcileLargeKey(sides, { key: Buffer.from(key) }, { ...DEFAULT_OPTIONS, onProgress: () => {} });
}

const BIG_VALUES: [string, [string, ...(string | Buffer)[]]][] = [
  ['string', ['SET', 'k', BIG]],
  ['list', ['RPUSH', 'k', 'a', BIG, 'b']],
  ['hash', ['HSET', 'k', 'a', '1', 'b', BIG]],
  ['set', ['SADD', 'k', 'a', BIG]],
  ['zset', ['ZADD', 'k', '1', 'a', '2', BIG]],
  ['stream', ['XADD', 'k', '1-1', 'f', BIG]],
];

describe.each([
  ['in chunks', undefined],
  ['in one piece', { elements: 5_000, bytes: 16 * MIB }],
])('a target with a small proto-max-bulk-len, repaired %s', (_way, largeValues) => {
  beforeAll(async () => {
    await link?.stop();
    link = await startLink([], ['--proto-max-bulk-len', `${MIB}`], { ...(largeValues && { largeValues }) });
  });

  test.each(BIG_VALUES)('does not take a %s with a part that is longer', async (_type, [command, ...args]) => {
    await link.source.client.call(command, ...args);
    await link.target.client.set('k', 'old');
    const result = await reconcileAny();
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'Unsupported' } });
    expect(result.outcome === 'failed' && result.error.message).toMatch(/raise its proto-max-bulk-len/);
    // And once it does:
    await link.target.client.config('SET', 'proto-max-bulk-len', 512 * MIB);
    try {
      expect(await reconcileAny()).toMatchObject({ outcome: 'repaired' });
      expect(await reconcileAny()).toEqual({ outcome: 'equal' });
    } finally {
      await link.target.client.config('SET', 'proto-max-bulk-len', MIB);
    }
  });

  test('takes what travels together with it', async () => {
    await link.source.client.set('k', BIG);
    const others = Array.from({ length: 20 }, (_, index) => `other ${index}`);
    for (const key of others) await link.source.client.rpush(key, key);
    const requests = [...others.slice(0, 10), 'k', ...others.slice(10)].map((key) => ({ key: Buffer.from(key) }));
    const results = await reconcileKeys(link.sides, requests, DEFAULT_OPTIONS);
    results.splice(10, 1);
    expect(results).toMatchObject(others.map(() => ({ outcome: 'repaired' })));
  });
});

describe('a target with a small client-query-buffer-limit', () => {
  beforeAll(async () => {
    await link?.stop();
    link = await startLink([], ['--client-query-buffer-limit', `${MIB}`]);
  });

  test.each(BIG_VALUES)('does not take a %s with a part that is longer', async (_type, [command, ...args]) => {
    await link.source.client.call(command, ...args);
    await link.target.client.set('k', 'old');
    const result = await reconcileAny();
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'Unsupported' } });
    expect(result.outcome === 'failed' && result.error.message).toMatch(/raise its client-query-buffer-limit/);
  });

  test('nor a string that has room there, but for what else is sent with it', async () => {
    await link.source.client.set('k', noise(MIB - 16));
    expect(await link.source.client.dumpBuffer('k')).toHaveLength(MIB);
    expect(await reconcileAny()).toMatchObject({ outcome: 'failed', error: { type: 'Unsupported' } });
  });
});

describe('a score that is no number', () => {
  beforeAll(async () => {
    await link?.stop();
    link = await startLink(['--enable-debug-command', 'yes']);
  });

  /** As no command makes one: from a payload whose checksum nobody looks at. */
  async function addNan(): Promise<void> {
    const { client } = link.source;
    await client.call('DEBUG', 'SET-SKIP-CHECKSUM-VALIDATION', '1');
    await client.zadd('k', 'inf', 'a');
    const dump = (await client.dumpBuffer('k'))!;
    const score = dump.indexOf('inf');
    dump.write('nan', score);
    dump.fill(0, dump.length - 8);
    await client.restore('k', 0, dump, 'REPLACE');
    expect(await client.zscore('k', 'a')).toMatch(/nan/);
  }

  test('is Unsupported where commands would have to write it', async () => {
    await addNan();
    await link.target.client.zadd('k', 1, 'a');
    // What is learnt holds for a connection.
    await Promise.all([link.sides.source.check(), link.sides.target.check()]);
    const memory = new LinkMemory(link.sides);
    memory.payloadVersionRefused();
    const whole = await reconcileAny({ ...link.sides, memory });
    const scope = { kind: 'members', members: [Buffer.from('a')] } as const;
    const member = await reconcileOne(link.sides, 'k', { scope });
    for (const result of [whole, member]) {
      expect(result).toMatchObject({ outcome: 'failed', error: { type: 'Unsupported', stage: 'write' } });
      expect(result.outcome === 'failed' && result.error.message).toMatch(/mend the value on the source/);
    }
    expect(await link.target.client.zscore('k', 'a')).toBe('1');
  });

  test('comes over as dumped', async () => {
    await addNan();
    expect(await reconcileAny()).toMatchObject({ outcome: 'repaired' });
    expect(await reconcileAny()).toEqual({ outcome: 'equal' });
  });
});
