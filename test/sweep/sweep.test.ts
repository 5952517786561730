/** A full comparison finds every difference, and invents none. */
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { RedisFailure } from '../../src/redis/index.js';
import type { SweepOptions, SweepState, SweepSummary } from '../../workflows/sweep-messages.js';
import { DEFAULT_OPTIONS, portWith, startLink, type TestLink } from '../engine/link.js';
import { eventually } from '../support/eventually.js';
import { swept } from './bed.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
afterEach(() => link.clear());

const EQUAL = { missing: 0, extra: 0, type: 0, value: 0, expiry: 0 };
const sweep = async (options: SweepOptions = {}) => (await swept(link.sides, options)).summary!;
const both = (...command: [string, ...(string | Buffer | number)[]]) =>
  Promise.all([link.source, link.target].map(({ client }) => client.call(...command)));
const listed = ({ listed }: SweepSummary) => Object.fromEntries(listed.map(({ key, difference }) => [key, difference]));

/** Equal keys of every type, many more than a page has. */
async function fill(strings = 1_500): Promise<void> {
  const pairs = Array.from({ length: strings }, (_, index) => [`user:${index}`, `value ${index}`]).flat();
  await both('MSET', ...pairs);
  await both('SET', 'expires', 'in an hour', 'PXAT', Date.now() + 3_600_000);
  await both('SET', 'empty', '');
  await both('RPUSH', 'list', 'a', 'b', 'a');
  await both('SADD', 'set', 'a', 'b', '1');
  await both('HSET', 'hash', 'field', 'value', 'other', '1');
  await both('ZADD', 'zset', 1, 'a', 0.1, 'b');
  await both('XADD', 'stream', '1-1', 'field', 'value');
  await both('SET', Buffer.from([0xff, 0, 0x0a, 0x3a]), 'binary');
}
const OTHERS = 8;

test('sides that are equal are equal, and that nothing is on the target alone is proven by counting', async () => {
  await fill();
  expect(await sweep()).toMatchObject({
    outcome: 'equal',
    compared: 1_500 + OTHERS,
    differing: EQUAL,
    listed: [],
    targetOnly: 'counted',
  });
});

test('a server counts no error: people watch these', async () => {
  const errors = async () => (await both('INFO', 'errorstats')).map((text) => String(text).match(/errorstat_[^:]+/g));
  await both('CONFIG', 'RESETSTAT');
  await fill();
  await sweep();
  await link.target.client.del('list', 'set', 'hash');
  await link.target.client.set('user:1', 'another');
  await link.target.client.set('zset', 'of another type');
  await link.target.client.set('extra', 'v');
  expect(await sweep()).toMatchObject({ outcome: 'divergent' });
  const [ofSource, ofTarget] = await errors();
  // A script that is not there yet is answered so, once.
  expect([...(ofSource ?? []), ...(ofTarget ?? [])].filter((name) => name !== 'errorstat_NOSCRIPT')).toEqual([]);
});

test('where keys expire counting proves nothing: a server counts those that it has not taken away yet', async () => {
  const own = await startLink(['--enable-debug-command', 'local']);
  onTestFinished(() => own.stop());
  const { source, target } = own;
  for (const { client } of [source, target]) await client.set('gone soon', 'v', 'PX', 10_000);
  await target.client.set('extra', 'v');
  await source.client.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
  // It is equal when it is met, and gone on the target alone when keys are counted.
  const sides = {
    ...own.sides,
    target: portWith(own.sides.target, {
      digestKeys: async (keys) => {
        const digest = await own.sides.target.digestKeys(keys);
        await eventually(async () => expect(await target.client.dbsize()).toBe(1));
        return digest;
      },
    }),
  };
  const { summary } = await swept(sides);
  expect(await source.client.dbsize()).toBe(1);
  expect(summary).toMatchObject({ outcome: 'divergent', differing: { extra: 1 }, targetOnly: 'scanned' });
});

test('where keys differ counting proves nothing: one may expire on the target before they are counted', async () => {
  const { source, target } = link;
  await source.client.set('k', 'v');
  await target.client.set('k', 'v', 'EX', 3_600);
  await target.client.set('extra', 'v');
  let isTold = false;
  const sides = {
    ...link.sides,
    target: portWith(link.sides.target, {
      keyServers: async () => {
        if (isTold) await target.client.del('k');
        return link.sides.target.keyServers();
      },
    }),
  };
  const onProgress = ({ parts }: SweepState) => {
    isTold ||= parts.some(({ tally }) => tally.differing.expiry > 0);
  };
  const { summary } = await swept(sides, {}, { onProgress });
  expect(summary).toMatchObject({ differing: { expiry: 1, extra: 1 }, targetOnly: 'scanned' });
});

test('a key that is of another type on each side is found where only one type is looked at', async () => {
  await link.source.client.set('k', 'a string');
  await link.target.client.hset('k', 'a', 'hash');
  for (const type of ['string', 'hash']) {
    expect(await sweep({ type })).toMatchObject({ outcome: 'divergent', differing: { type: 1 } });
  }
});

test('sides that are empty are equal', async () => {
  expect(await sweep()).toMatchObject({ outcome: 'equal', compared: 0, targetOnly: 'counted' });
});

test('each kind of difference is found, and nothing else', async () => {
  await fill();
  const { source, target } = link;
  await target.client.del('user:7');
  await target.client.set('user:8', 'other');
  await target.client.set('empty', 'not');
  await target.client.del('list');
  await target.client.rpush('list', 'a', 'b');
  await target.client.del('set');
  await target.client.set('set', 'a string');
  await target.client.hset('hash', 'field', 'other');
  await target.client.zadd('zset', 2, 'a');
  await target.client.xadd('stream', '2-1', 'field', 'value');
  await target.client.persist('expires');
  await target.client.set('target:1', 'alone');
  await source.client.set('source:1', 'alone');
  const summary = await sweep();
  expect(listed(summary)).toEqual({
    'user:7': 'missing',
    'source:1': 'missing',
    'user:8': 'value',
    empty: 'value',
    list: 'value',
    set: 'type',
    hash: 'value',
    zset: 'value',
    stream: 'value',
    expires: 'expiry',
    'target:1': 'extra',
  });
  expect(summary).toMatchObject({
    outcome: 'divergent',
    differing: { missing: 2, extra: 1, type: 1, value: 6, expiry: 1 },
    targetOnly: 'scanned',
    unsettled: 0,
    failed: 0,
  });
  expect(summary.prefixes[0]).toMatchObject({ prefix: '', keys: 7, differing: { type: 1, expiry: 1 } });
  expect(summary.prefixes[1]).toEqual({ prefix: 'user:', keys: 2, differing: { missing: 1, value: 1 } });
});

test('a key that is missing, whose value is empty, is told from an empty one', async () => {
  await link.source.client.set('empty', '');
  expect(listed(await sweep())).toEqual({ empty: 'missing' });
});

test('keys of any bytes are found and named without loss', async () => {
  const key = Buffer.from([0xff, 0xfe, 0x00, 0x1b]);
  await link.source.client.set(key, 'value');
  const { listed } = await sweep();
  expect(listed).toMatchObject([{ key: key.toString('base64'), encoding: 'base64', difference: 'missing' }]);
});

test('what lies otherwise in memory, or came in another order, is equal', async () => {
  const { source, target } = link;
  await target.client.config('SET', 'hash-max-listpack-entries', '1');
  try {
    const fields = Array.from({ length: 300 }, (_, index) => [`field ${index}`, `${index}`]);
    await source.client.hset('hash', ...fields.flat());
    await target.client.hset('hash', ...fields.toReversed().flat());
    await source.client.sadd('set', 'a', 'b', 'c');
    await target.client.sadd('set', 'c', 'b', 'a');
    // Beside a key that differs, so that the engine looks at all of the page.
    await source.client.set('other', 'value');
    expect(listed(await sweep())).toEqual({ other: 'missing' });
  } finally {
    await target.client.config('SET', 'hash-max-listpack-entries', '128');
  }
});

test('an expiry may differ by what the link tolerates', async () => {
  const at = Date.now() + 3_600_000;
  const set = async (key: string, differsByMs: number) => {
    await link.source.client.set(key, 'v', 'PXAT', at);
    await link.target.client.set(key, 'v', 'PXAT', at + differsByMs);
  };
  await set('earlier', -DEFAULT_OPTIONS.expiryToleranceMs);
  await set('later', DEFAULT_OPTIONS.expiryToleranceMs);
  await set('too late', 60_000);
  await set('too early', -60_000);
  expect(listed(await sweep())).toEqual({ 'too late': 'expiry', 'too early': 'expiry' });
});

test('keys of keymend itself are left out, on both sides', async () => {
  await fill(10);
  await link.source.client.xadd('keymend:outbox', '*', 'field', 'value');
  await link.target.client.set('keymend:writer:{1}', 'mark');
  expect(await sweep()).toMatchObject({ outcome: 'equal', compared: 10 + OTHERS, differing: EQUAL });
});

test('a pattern and a type bound what is compared, on both sides', async () => {
  await fill(20);
  const { source, target } = link;
  for (const key of ['user:1', 'list']) await target.client.del(key);
  await target.client.set('user:new', 'alone');
  await source.client.rpush('user:list', 'a');
  expect(listed(await sweep({ match: 'user:*' }))).toEqual({
    'user:1': 'missing',
    'user:list': 'missing',
    'user:new': 'extra',
  });
  expect(listed(await sweep({ match: 'user:*', type: 'string' }))).toEqual({
    'user:1': 'missing',
    'user:new': 'extra',
  });
  expect(listed(await sweep({ type: 'list' }))).toEqual({ list: 'missing', 'user:list': 'missing' });
});

test('what matches no key of either side is not equal: most likely it is a typing error', async () => {
  await fill(20);
  expect(await sweep({ match: 'nobody:*', type: 'set' })).toMatchObject({
    compared: 0,
    outcome: 'incomplete',
    reasons: [
      'nothing was compared: no key of either side matches the pattern and is of type set; check --match and --type, or leave it out',
    ],
  });
  await link.target.client.set('nobody:1', 'alone');
  expect(await sweep({ match: 'nobody:*' })).toMatchObject({ compared: 1, outcome: 'divergent', reasons: [] });
  await link.clear();
  expect(await sweep({ match: 'nobody:*' })).toMatchObject({ compared: 0, outcome: 'equal', reasons: [] });
});

test('each key counts once, also one of the target alone and one that both directions meet', async () => {
  await fill(20);
  const { target } = link;
  await target.client.mset(Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`target:${index}`, 'alone'])));
  await target.client.hset('hash', 'field', 'other');
  await target.client.set('set', 'of another type');
  expect(await sweep()).toMatchObject({ compared: 128, differing: { ...EQUAL, extra: 100, value: 1, type: 1 } });
  expect(await sweep({ type: 'hash' })).toMatchObject({ compared: 1, differing: { ...EQUAL, value: 1 } });
  expect(await sweep({ type: 'string' })).toMatchObject({ differing: { ...EQUAL, extra: 100, type: 1 } });
});

test('what one side lacks is sure without a word to the budget, so thousands of such keys take no longer', async () => {
  await fill(20);
  const alone = Object.fromEntries(Array.from({ length: 3_000 }, (_, index) => [`alone:${index}`, 'v']));
  await link.target.client.mset(alone);
  await link.source.client.mset(Object.fromEntries(Object.entries(alone).map(([key, value]) => [`of ${key}`, value])));
  await link.target.client.hset('hash', 'field', 'other');
  let admitted = 0;
  const { target } = link.sides;
  const counting = portWith(target, {
    admit: (requests, turns) => {
      admitted += requests.length;
      return target.admit(requests, turns);
    },
  });
  const { summary } = await swept({ ...link.sides, target: counting });
  expect(summary).toMatchObject({ differing: { ...EQUAL, extra: 3_000, missing: 3_000, value: 1 } });
  // The page of the hash was narrowed down to a few keys; looked at again, its states say it.
  expect(admitted).toBeLessThan(100);
});

test('of one type, what the source has of it is not compared once more from the side of the target', async () => {
  await fill(100);
  await link.target.client.set('user:7', 'other');
  await link.target.client.set('set', 'of another type');
  let admitted = 0;
  const { source, target } = link.sides;
  const counting = portWith(target, {
    admit: (requests, turns) => {
      admitted += requests.length;
      return target.admit(requests, turns);
    },
  });
  const unreadable = portWith(source, {
    async read(requests) {
      const readings = await source.read(requests);
      const isSeven = ({ key }: { readonly key: Buffer }) => `${key}` === 'user:7';
      return readings.map((reading, index) =>
        isSeven(requests[index]!) ? new RedisFailure('LARGEDUMP', '') : reading,
      );
    },
  });
  const { summary } = await swept({ source: unreadable, target: counting }, { type: 'STRING' });
  expect(summary).toMatchObject({ differing: { ...EQUAL, type: 1 }, failed: 1 });
  expect(summary!.reasons).toEqual([expect.stringMatching(/^Unsupported: /)]);
  await link.target.client.set('user:7', 'value 7');
  admitted = 0;
  expect((await swept({ source, target: counting }, { type: 'string' })).summary).toMatchObject({ failed: 0 });
  expect(admitted).toBe(0);
});

test('large values are compared without a digest of all', async () => {
  const members = Array.from({ length: 12_000 }, (_, index) => `member ${index}`);
  for (const key of ['set', 'same set']) await both('SADD', key, ...members);
  for (const key of ['list', 'same list']) await both('RPUSH', key, ...members);
  for (const key of ['string', 'same string', 'shorter']) await both('SET', key, 'x'.repeat(3_000_000));
  const { source, target } = link;
  await target.client.srem('set', 'member 77');
  await target.client.lset('list', 7_000, 'other');
  await target.client.setrange('string', 2_000_000, 'y');
  await target.client.set('shorter', 'x'.repeat(2_999_999));
  await source.client.sadd('missing', ...members);
  await target.client.rpush('extra', ...members);
  await source.client.sadd('type', ...members);
  await target.client.set('type', 'a string');
  expect(listed(await sweep())).toEqual({
    set: 'value',
    list: 'value',
    string: 'value',
    shorter: 'value',
    missing: 'missing',
    extra: 'extra',
    type: 'type',
  });
});

test('a comparison writes nothing', async () => {
  await fill(50);
  await link.target.client.hset('hash', 'field', 'other');
  const members = Array.from({ length: 6_000 }, (_, index) => `${index}`);
  await link.source.client.sadd('large', ...members);
  const changes = async () => /rdb_changes_since_last_save:\d+/.exec(await link.target.client.info('persistence'))![0];
  const before = await changes();
  expect(listed(await sweep())).toEqual({ hash: 'value', large: 'missing' });
  expect(await changes()).toBe(before);
});

test('what was found can be looked at alone', async () => {
  await fill(50);
  await link.target.client.del('user:1', 'user:2');
  const { listed: found } = await sweep();
  await link.target.client.set('user:1', 'value 1');
  await link.target.client.del('user:3');
  const again = await sweep({ keys: found });
  expect(listed(again)).toEqual({ 'user:2': 'missing' });
  expect(again).toMatchObject({ compared: 2, targetOnly: 'skipped' });
});

test('what differs is repaired where that is asked for, within all that guards a repair', async () => {
  await fill(50);
  const { source, target } = link;
  await target.client.del('user:1');
  await target.client.hset('hash', 'field', 'other');
  await target.client.set('target:1', 'alone');
  await source.client.sadd('large', ...Array.from({ length: 6_000 }, (_, index) => `${index}`));
  const summary = await sweep({ repair: true });
  expect(summary).toMatchObject({ outcome: 'equal', differing: { missing: 2, value: 1, extra: 1 } });
  expect(summary).toMatchObject({ handedOver: 4, repaired: 4, unhealed: 0 });
  const times = (points: SweepSummary['timeline']['found']) => points.reduce((sum, { keys }) => sum + keys, 0);
  expect([times(summary.timeline.found), times(summary.timeline.healed)]).toEqual([4, 4]);
  for (const { repaired, foundAt, healedAt } of summary.listed) {
    expect(repaired).toBe(true);
    expect(Date.parse(healedAt!)).toBeGreaterThanOrEqual(Date.parse(foundAt!));
  }
  expect(await sweep()).toMatchObject({ outcome: 'equal', differing: EQUAL });
});

test('what its batch did not heal is divergent, and each batch has its place among all that were handed over', async () => {
  await link.source.client.mset(
    Object.fromEntries(Array.from({ length: 2_500 }, (_, index) => [`user:${index}`, 'v'])),
  );
  const batches: { first: number; keys: number }[] = [];
  const { summary } = await swept(
    link.sides,
    { repair: true },
    {
      batches: {
        start: async ({ length: keys }, first) => `${batches.push({ first, keys })}`,
        // One of each goes on by itself.
        ended: async (id) => ({ healed: batches[Number(id) - 1]!.keys - 1, wentOn: [], atMs: Date.now() }),
      },
    },
  );
  expect(batches.length).toBeLessThan(10);
  expect(batches.every(({ keys }) => keys <= 1_000)).toBe(true);
  expect(batches.map(({ first }) => first)).toEqual(
    batches.map((_, index) => batches.slice(0, index).reduce((sum, { keys }) => sum + keys, 0)),
  );
  expect(summary).toMatchObject({
    outcome: 'divergent',
    handedOver: 2_500,
    repaired: 2_500 - batches.length,
    unhealed: batches.length,
  });
});

test('what went on from its batch is waited for, and its end is told with the others', async () => {
  await link.source.client.mset({ 'user:1': 'v', 'user:2': 'v' });
  const wentOn = [{ key: 'user:2', encoding: 'utf8' as const }];
  const { summary } = await swept(
    link.sides,
    { repair: true },
    {
      batches: {
        async start() {
          await link.target.client.set('user:1', 'v');
          return 'batch';
        },
        async ended() {
          // Its own workflow is at it a moment later.
          setTimeout(() => void link.target.client.set('user:2', 'v'), 100);
          return { healed: 1, wentOn, atMs: Date.now() };
        },
      },
    },
  );
  expect(summary).toMatchObject({ outcome: 'equal', handedOver: 2, repaired: 2, unhealed: 0 });
  const [first, second] = summary!.listed.toSorted((one, other) => one.key.localeCompare(other.key));
  expect([first!.repaired, second!.repaired]).toEqual([true, true]);
  expect(Date.parse(second!.healedAt!)).toBeGreaterThan(Date.parse(first!.healedAt!));
});

test('a source that looks emptied, or stands in the place of the target by mistake, empties none', async () => {
  await link.target.client.mset(Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`user:${index}`, 'v'])));
  const summary = await sweep({ repair: true });
  expect(summary).toMatchObject({ outcome: 'divergent', handedOver: 0, failed: 50, differing: { extra: 50 } });
  expect(summary.reasons).toEqual([expect.stringMatching(/^SourceSuspicious: .*nothing was deleted/)]);
  expect(await link.target.client.dbsize()).toBe(50);
});

test('a sample says how much differs at most', async () => {
  await fill(20_000);
  const equal = await sweep({ sample: 0.1 });
  expect(equal.compared).toBeGreaterThanOrEqual(2_000);
  expect(equal.compared).toBeLessThan(4_000);
  expect(equal.atMost).toBeLessThan(0.0016);
  expect(equal.targetOnly).toBe('skipped');
  // Of the others nothing is known.
  expect(equal.outcome).toBe('incomplete');
  await link.target.client.flushall();
  expect(await sweep({ sample: 0.1 })).toMatchObject({ outcome: 'divergent', atMost: 1 });
});

test('what it tells on the way grows to the end, and is enough to go on from', async () => {
  await fill(4_000);
  await link.target.client.del('user:1', 'user:3999');
  await link.target.client.set('target:1', 'alone');
  const states: SweepState[] = [];
  const percents: number[] = [];
  const { summary: whole } = await swept(
    link.sides,
    {},
    {
      onProgress: (state, now) => {
        states.push(state);
        percents.push(now().percent);
      },
    },
  );
  expect(percents.toSorted((one, other) => one - other)).toEqual(percents);
  expect(percents.at(-1)).toBe(100);
  const middle = states[Math.floor(states.length / 2)]!;
  expect(JSON.parse(JSON.stringify(middle))).toEqual(middle);
  const more: SweepState[] = [];
  const { summary: resumed } = await swept(link.sides, {}, { state: middle, onProgress: (state) => more.push(state) });
  expect(listed(resumed!)).toEqual(listed(whole!));
  expect(resumed!.compared).toBe(whole!.compared);
  expect(more.length).toBeLessThan(states.length);
});

test('a right that is lacking is named, and nothing is taken for equal', async () => {
  await fill(10);
  const rights = (...rules: string[]) => link.source.client.call('ACL', 'SETUSER', 'default', ...rules);
  try {
    await rights('-scan');
    await expect(sweep()).rejects.toMatchObject({
      type: 'NoPermission',
      message: expect.stringMatching(/^source .*SCAN/),
    });
    await rights('+scan', '-getrange');
    await expect(sweep()).rejects.toMatchObject({ type: 'NoPermission' });
  } finally {
    await rights('+@all');
  }
});
