/**
 * Servers whose clocks differ: a relative expiry that both executed is no difference, one that the
 * source alone moved is.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LinkMemory, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import { type ClockReading, connectRedis, RedisFailure, type RedisPort } from '../../src/redis/index.js';
import { provideFaketime, provideValkey9 } from '../../src/stack/programs/index.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { DEFAULT_OPTIONS, portWith, reconcileOne, startLink, type TestLink } from './link.js';
import { type ClusterSide, type Side, startClusterSide, startSide } from './topology.js';

const HOUR_MS = 3_600_000;
const AHEAD_MS = 5_000;
const AHEAD = { FAKETIME: `+${AHEAD_MS / 1000}s`, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
/**
 * Far less than the clocks differ, though more than a busy machine lets pass between two commands.
 */
const TOLERANT = { expiryToleranceMs: 2_000 };
const EXPIRY = { scope: { kind: 'members' as const, members: [] } };
const FIELD = { scope: { kind: 'members' as const, members: [Buffer.from('f')] } };

const provide = async (provision: Parameters<typeof provideFaketime>[0]) => ({
  faketime: await provideFaketime(provision),
  valkey: await provideValkey9(provision),
});

await describeWith('clocks five seconds apart', provide, ({ faketime, valkey }) => {
  describe.each(['source', 'target'] as const)('the %s being ahead', (ahead) => {
    let link: TestLink;
    beforeAll(async () => {
      const drifting = { environment: { ...AHEAD, LD_PRELOAD: faketime } };
      link = await startLink([], [], {
        source: { binary: valkey, ...(ahead === 'source' && drifting) },
        target: { binary: valkey, ...(ahead === 'target' && drifting) },
        largeValues: { elements: 100, bytes: 20_000 },
      });
    });
    afterAll(() => link?.stop());
    beforeEach(() => link.clear());

    /** The same relative expiry on both sides, as a dual write brings it. */
    async function onBoth(...args: [string, ...(string | number)[]]): Promise<void> {
      await Promise.all([link.source, link.target].map(({ client }) => client.call(...args)));
    }

    test.each([
      ['the whole key', {}],
      ['its expiry alone', EXPIRY],
    ])('a relative expiry that both executed is equal: %s', async (_scope, scope) => {
      await onBoth('SET', 'k', 'v', 'EX', 3600);
      const [source, target] = await Promise.all(
        [link.source, link.target].map((each) => each.client.pexpiretime('k')),
      );
      expect(Math.abs(source! - target!)).toBeGreaterThan(AHEAD_MS / 2);
      expect(await link.reconcile('k', { ...scope, ...TOLERANT })).toEqual({ outcome: 'equal' });
    });

    test('a relative expiry of a field that both executed is equal', async () => {
      await onBoth('HSET', 'k', 'f', 'v');
      await onBoth('HEXPIRE', 'k', 3600, 'FIELDS', 1, 'f');
      expect(await link.reconcile('k', { ...FIELD, ...TOLERANT })).toEqual({ outcome: 'equal' });
    });

    test.each([
      ['the whole key', {}],
      ['its expiry alone', EXPIRY],
    ])('an expiry that was refreshed on the source alone is a difference: %s', async (_scope, scope) => {
      await onBoth('SET', 'k', 'v', 'EX', 3600);
      await link.source.client.expire('k', 3660);
      expect(await link.reconcile('k', scope)).toMatchObject({ outcome: 'repaired', action: 'expiry' });
      const expiries = await Promise.all([link.source, link.target].map(({ client }) => client.pexpiretime('k')));
      expect(expiries[0]).toBe(expiries[1]);
      expect(await link.reconcile('k', scope)).toEqual({ outcome: 'equal' });
    });

    describe.each([
      ['string', ['SET', 'k', 'v'.repeat(50_000)]],
      ['hash', ['HSET', 'k', ...Array.from({ length: 1_000 }, (_, index) => `${index}`)]],
    ] as [string, [string, ...string[]]][])('a large %s', (_type, write) => {
      const reconcileLarge = () =>
        reconcileLargeKey(
          link.sides,
          { key: Buffer.from('k') },
          { ...DEFAULT_OPTIONS, ...TOLERANT, onProgress: () => {} },
        );
      beforeEach(async () => {
        await onBoth(...write);
        await onBoth('EXPIRE', 'k', 3600);
      });

      test('with a relative expiry that both executed is equal', async () => {
        expect(await reconcileLarge()).toEqual({ outcome: 'equal' });
      });

      test('with an expiry that was refreshed on the source alone differs', async () => {
        await link.source.client.expire('k', 3660);
        expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
        const expiries = await Promise.all([link.source, link.target].map(({ client }) => client.pexpiretime('k')));
        expect(expiries[0]).toBe(expiries[1]);
      });
    });

    test('the offset is tolerated in its own direction only', async () => {
      const at = Date.now() + HOUR_MS;
      const wrongWay = ahead === 'source' ? AHEAD_MS : -AHEAD_MS;
      await link.source.client.set('k', 'v', 'PXAT', at);
      await link.target.client.set('k', 'v', 'PXAT', at + wrongWay);
      expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired' });
    });

    test('the same absolute expiry is equal', async () => {
      const at = Date.now() + HOUR_MS;
      await onBoth('SET', 'k', 'v', 'PXAT', at);
      expect(await link.reconcile('k', { expiryToleranceMs: 0 })).toEqual({ outcome: 'equal' });
    });

    test('a key that has expired by the source’s clock or the target’s is on neither side afterwards', async () => {
      // Past on the server that is ahead, to come on the other.
      await link.source.client.set('k', 'v', 'PXAT', Date.now() + AHEAD_MS / 2);
      await link.reconcile('k');
      expect(await link.target.client.exists('k')).toBe(0);
    });
  });
});

/** More than what the keys below have left. */
const FAR_AHEAD_S = 120;

await describeWith('a target whose clock is two minutes ahead', provide, ({ faketime, valkey }) => {
  let link: TestLink;
  beforeAll(async () => {
    const environment = { FAKETIME: `+${FAR_AHEAD_S}s`, FAKETIME_DONT_FAKE_MONOTONIC: '1', LD_PRELOAD: faketime };
    link = await startLink([], [], {
      source: { binary: valkey },
      target: { binary: valkey, environment },
      largeValues: { elements: 100, bytes: 20_000 },
    });
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  const OFFSET = { outcome: 'failed', error: { type: 'ClockOffset', stage: 'compare' } };
  const reconcileLarge = () =>
    reconcileLargeKey(link.sides, { key: Buffer.from('k') }, { ...DEFAULT_OPTIONS, onProgress: () => {} });
  const FIELDS = ['HSET', 'k', ...Array.from({ length: 1_000 }, (_, index) => `${index}`)];

  interface Case {
    readonly what: string;
    readonly fill: [string, ...(string | number)[]];
    /** Where the target's value is another one. */
    readonly onTarget?: [string, ...(string | number)[]];
    readonly expire: [string, ...(string | number)[]];
    readonly reconcile: () => Promise<unknown>;
  }
  const expireKey: Case['expire'] = ['EXPIRE', 'k', 60];
  const cases: Case[] = [
    { what: 'a value', fill: ['SET', 'k', 'v'], expire: expireKey, reconcile: () => link.reconcile('k') },
    {
      what: 'an expiry alone',
      fill: ['SET', 'k', 'v'],
      expire: expireKey,
      reconcile: () => link.reconcile('k', EXPIRY),
    },
    { what: 'a member', fill: ['HSET', 'k', 'f', 'v'], expire: expireKey, reconcile: () => link.reconcile('k', FIELD) },
    {
      what: 'a field that expires',
      fill: ['HSET', 'k', 'f', 'v', 'g', 'w'],
      expire: ['HEXPIRE', 'k', 60, 'FIELDS', 1, 'f'],
      reconcile: () => link.reconcile('k'),
    },
    {
      what: 'a member that expires',
      fill: ['HSET', 'k', 'f', 'v', 'g', 'w'],
      expire: ['HEXPIRE', 'k', 60, 'FIELDS', 1, 'f'],
      reconcile: () => link.reconcile('k', FIELD),
    },
    { what: 'a large string', fill: ['SET', 'k', 'v'.repeat(50_000)], expire: expireKey, reconcile: reconcileLarge },
    { what: 'a large hash', fill: FIELDS as Case['fill'], expire: expireKey, reconcile: reconcileLarge },
    {
      what: 'a large hash in the place of another type',
      fill: FIELDS as Case['fill'],
      onTarget: ['SET', 'k', 'v'],
      expire: expireKey,
      reconcile: reconcileLarge,
    },
    {
      what: 'a large hash with a field that expires',
      fill: FIELDS as Case['fill'],
      expire: ['HEXPIRE', 'k', 60, 'FIELDS', 1, '500'],
      reconcile: reconcileLarge,
    },
  ];

  test.each(cases)('$what is not written there to be gone at once, nor called equal', async (each) => {
    await link.source.client.call(...each.fill);
    await link.target.client.call(...(each.onTarget ?? each.fill));
    await link.source.client.call(...each.expire);
    const before = await link.target.client.dump('k');
    for (let run = 0; run < 2; run++) expect(await each.reconcile()).toMatchObject(OFFSET);
    expect(await link.target.client.dump('k')).toBe(before);
    // Nor is it called equal where the target has nothing.
    await link.target.client.del('k');
    expect(await each.reconcile()).toMatchObject(OFFSET);
  });

  test('nor is it written while nobody can say how far the clocks are apart', async () => {
    await link.source.client.set('k', 'v', 'EX', 60);
    for (const side of ['source', 'target'] as const) {
      const silent = portWith(link.sides[side], { clock: async () => new RedisFailure('TIMEOUT', 'no answer') });
      const error = { type: side === 'source' ? 'SourceUnavailable' : 'TargetUnavailable', stage: 'compare' };
      expect(await reconcileOne({ ...link.sides, [side]: silent }, 'k')).toMatchObject({ outcome: 'failed', error });
    }
    expect(await link.target.client.exists('k')).toBe(0);
  });

  test('a key that keeps most of its time is written', async () => {
    await link.source.client.set('k', 'v', 'EX', 10 * FAR_AHEAD_S);
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired' });
    expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
    expect(await link.target.client.get('k')).toBe('v');
  });

  test('a key that has expired on the source as well is deleted', async () => {
    await link.target.client.set('k', 'v');
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'deleted' });
  });
});

await describeWith('a clock that was five seconds ahead', provide, ({ faketime, valkey: binary }) => {
  let source: RedisServer;
  let target: RedisServer;
  beforeAll(async () => {
    source = await startRedis([], { binary });
    target = await startRedis([], { binary, environment: { ...AHEAD, LD_PRELOAD: faketime } });
  });
  afterAll(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
  });

  test('is forgotten with the connection: behind the same address there may be another server by then', async () => {
    const ports = {
      source: connectRedis({ url: source.url }, { name: 'source' }),
      target: connectRedis({ url: target.url }, { name: 'target' }),
    };
    try {
      const linked = { ...ports, memory: new LinkMemory(ports) };
      const at = Date.now() + HOUR_MS;
      const reconcileApart = async () => {
        await source.client.set('k', 'v', 'PXAT', at);
        await target.client.set('k', 'v', 'PXAT', at + AHEAD_MS);
        return reconcileOne(linked, 'k', TOLERANT);
      };
      expect(await reconcileApart()).toEqual({ outcome: 'equal' });
      await target.stop();
      target = await startRedis([], { binary, port: target.port });
      await eventually(() => ports.target.check());
      expect(await reconcileApart()).toMatchObject({ outcome: 'repaired', action: 'expiry' });
    } finally {
      await Promise.all([ports.source.close(), ports.target.close()]);
    }
  });
});

await describeWith('one master of a Cluster five seconds ahead', provide, ({ faketime, valkey: binary }) => {
  let source: Side;
  let target: ClusterSide;
  beforeAll(async () => {
    source = await startSide('source', 'one server', { binary });
    const environmentOf = (index: number) => (index === 0 ? { ...AHEAD, LD_PRELOAD: faketime } : {});
    target = await startClusterSide('target', 2, { binary, environmentOf });
  });
  afterAll(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
  });

  test('matters to its own keys alone', async () => {
    const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
    await Promise.all(keys.flatMap((key) => [source, target].map(({ client }) => client.set(key, 'v', 'EX', 3600))));
    const requests = keys.map((key) => ({ key: Buffer.from(key) }));
    const sides = { source: source.port, target: target.port };
    const linked = { ...sides, memory: new LinkMemory(sides) };
    const outcomes = async () =>
      (await reconcileKeys(linked, requests, { ...DEFAULT_OPTIONS, ...TOLERANT })).map(({ outcome }) => outcome);
    expect(await outcomes()).toEqual(keys.map(() => 'equal'));
    // Later on the target than the source's clock explains; only the one that is ahead does.
    const at = Date.now() + HOUR_MS;
    await Promise.all(keys.map((key) => source.client.pexpireat(key, at)));
    await Promise.all(keys.map((key) => target.client.pexpireat(key, at + AHEAD_MS / 2)));
    const [ahead] = target.nodes;
    expect(await outcomes()).toEqual(keys.map((key) => (target.nodeOf(key) === ahead ? 'equal' : 'repaired')));
  });
});

describe('the offset of the clocks', () => {
  let link: TestLink;
  let asked: number;
  beforeAll(async () => {
    link = await startLink();
  });
  afterAll(() => link?.stop());
  afterEach(() => link.clear());
  beforeEach(() => {
    asked = 0;
  });

  /** The target with another answer to what its clock shows. */
  function target(change: (reading: ClockReading) => ClockReading | RedisFailure): RedisPort {
    return new Proxy(link.sides.target, {
      get(port, name: keyof RedisPort) {
        const value = port[name];
        if (name === 'clock') {
          return async (key: Buffer) => {
            asked += 1;
            const reading = await port.clock(key);
            return reading instanceof RedisFailure ? reading : change(reading);
          };
        }
        return typeof value === 'function' ? (value as () => unknown).bind(port) : value;
      },
    });
  }

  const shifted = (offsetMs: number, uncertaintyMs?: number) =>
    target((reading) => ({
      ...reading,
      serverTimeMs: reading.serverTimeMs + offsetMs,
      uncertaintyMs: uncertaintyMs ?? reading.uncertaintyMs,
    }));

  async function apart(ms: number): Promise<void> {
    const at = Date.now() + HOUR_MS;
    await link.source.client.set('k', 'v', 'PXAT', at);
    await link.target.client.set('k', 'v', 'PXAT', at + ms);
  }

  test.each([
    [1_000, 1_100, 'equal'],
    [1_000, 1_200, 'repaired'],
    [1_000, -101, 'repaired'],
    [-1_000, -1_100, 'equal'],
    [-1_000, -1_200, 'repaired'],
    [-1_000, 101, 'repaired'],
  ])('of %i ms is added to the tolerance of 100 ms: %i ms apart is %s', async (offset, ms, outcome) => {
    await apart(ms);
    expect(await reconcileOne({ ...link.sides, target: shifted(offset) }, 'k')).toMatchObject({ outcome });
  });

  test('widens by what it is uncertain', async () => {
    await apart(1_500);
    expect(await reconcileOne({ ...link.sides, target: shifted(1_000, 600) }, 'k')).toEqual({ outcome: 'equal' });
  });

  test('that can’t be told from none adds nothing', async () => {
    await apart(150);
    const result = await reconcileOne({ ...link.sides, target: shifted(300, 400) }, 'k');
    expect(result).toMatchObject({ outcome: 'repaired' });
  });

  test('is none where a server does not say its time', async () => {
    await apart(150);
    const silent = target(() => new RedisFailure('NOPERM', 'no'));
    expect(await reconcileOne({ ...link.sides, target: silent }, 'k')).toMatchObject({ outcome: 'repaired' });
  });

  test('is asked for only where it can matter, and remembered with the link', async () => {
    const sides = { ...link.sides, target: shifted(1_000) };
    const linked = { ...sides, memory: new LinkMemory(sides) };
    await apart(100);
    await reconcileOne(linked, 'k');
    await link.target.client.persist('k');
    await reconcileOne(linked, 'k');
    expect(asked).toBe(0);
    await apart(1_000);
    await reconcileOne(linked, 'k');
    const once = asked;
    expect(once).toBeGreaterThan(0);
    await apart(2_000);
    await reconcileOne(linked, 'k');
    expect(asked).toBe(once);
  });
});
