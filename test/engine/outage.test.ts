/** A server of the target that does not answer at all: its keys wait, and have not failed. */
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyResult, type LinkSides, reconcileKeys } from '../../src/engine/index.js';
import { connectRedis, type OutageListener, type RedisPort } from '../../src/redis/index.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { DEFAULT_OPTIONS } from './link.js';

/** Soon over, so that a server that hangs is known as such soon. */
const COMMAND_TIMEOUT_MS = 1_000;
const KEYS = Array.from({ length: 20 }, (_, index) => `key:${index}`);

let source: RedisServer;
beforeAll(async () => {
  source = await startRedis();
});
afterAll(() => source?.stop());

/** What was told of outages, a line each. */
let told: string[];
let keysWaiting: () => number;
const outages: OutageListener = {
  began({ shard }, waiting) {
    told.push(`began: ${shard}`);
    keysWaiting = waiting;
  },
  ended: ({ shard }) => told.push(`ended: ${shard}`),
};
const closing: RedisPort[] = [];
beforeEach(async () => {
  told = [];
  await source.client.flushall();
  for (const key of KEYS) await source.client.set(key, 'new');
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((port) => port.close()));
});

function connect(target: { url: string } | { cluster: string[] }): LinkSides {
  const options = { commandTimeoutMs: COMMAND_TIMEOUT_MS };
  const sides = {
    source: connectRedis({ url: source.url }, { ...options, name: 'source' }),
    target: connectRedis(target, { ...options, name: 'target', outages }),
  };
  closing.push(sides.source, sides.target);
  return sides;
}

function reconcile(sides: LinkSides, keys: readonly string[] = KEYS): Promise<KeyResult[]> {
  return reconcileKeys(
    sides,
    keys.map((key) => ({ key: Buffer.from(key) })),
    DEFAULT_OPTIONS,
  );
}

const outcomes = (results: readonly KeyResult[]) => [...new Set(results.map(({ outcome }) => outcome))];

describe.each(['hangs', 'is down'] as const)('a target that %s', (how) => {
  let target: RedisServer;
  let sides: LinkSides;
  beforeEach(async () => {
    target = await startRedis();
    sides = connect({ url: target.url });
    await reconcile(sides);
    await target.client.flushall();
  });
  afterEach(() => target?.stop());

  const shard = () => `127.0.0.1:${target.port}`;

  async function goAway(): Promise<void> {
    if (how === 'hangs') target.freeze();
    else await target.stop();
  }

  async function comeBack(): Promise<void> {
    if (how === 'hangs') target.thaw();
    else target = await startRedis([], { port: target.port });
  }

  test('fails no key: they wait, and are repaired when it is back', async () => {
    const since = Date.now();
    await goAway();
    const waiting = await reconcile(sides);
    expect(outcomes(waiting)).toEqual(['deferred']);
    const [first] = waiting as [Extract<KeyResult, { outcome: 'deferred' }>];
    expect(first.outage!.shard).toBe(shard());
    expect(first.outage!.since).toBeGreaterThanOrEqual(since);
    expect(first.repaired).toBeNull();
    await comeBack();
    await eventually(async () => expect(outcomes(await reconcile(sides))).toEqual(['repaired']));
    expect(await target.client.mget(...KEYS)).toEqual(KEYS.map(() => 'new'));
  });

  test('is told of once at its beginning, with how many keys wait, and once at its end', async () => {
    await goAway();
    await reconcile(sides);
    await eventually(() => expect(told).toEqual([`began: ${shard()}`]));
    expect(keysWaiting()).toBe(KEYS.length);
    await reconcile(sides, ['key:1', 'one more']);
    expect(keysWaiting()).toBe(KEYS.length + 1);
    await comeBack();
    await eventually(() => expect(told).toEqual(['began', 'ended'].map((what) => `${what}: ${shard()}`)));
  });
});

test('a server that is slow for a moment is asked, and has no outage', async () => {
  const target = await startRedis();
  try {
    const sides = connect({ url: target.url });
    await reconcile(sides);
    await target.client.config('RESETSTAT');
    target.freeze();
    const thawed = sleep(COMMAND_TIMEOUT_MS + 200).then(() => target.thaw());
    const [result] = await reconcile(sides, ['key:1']);
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetUnavailable' } });
    await thawed;
    expect(await target.client.info('commandstats')).toContain('cmdstat_ping:calls=1,');
    expect(told).toEqual([]);
  } finally {
    await target.stop();
  }
});

test('a server that is away gets no script of the keys that wait for it', async () => {
  let received = '';
  const silent = createServer((socket) => {
    socket.on('data', (bytes) => (received += bytes)).on('error', () => {});
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  try {
    const sides = connect({ url: `redis://127.0.0.1:${(silent.address() as AddressInfo).port}` });
    expect(outcomes(await reconcile(sides, ['key:1']))).toEqual(['deferred']);
    const scripts = () => received.match(/EVAL/g)?.length;
    const before = scripts();
    expect(before).toBeGreaterThan(0);
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const [result] = await reconcile(sides, [`key:${round}`]);
      times.push((result as { retryAfterMs: number }).retryAfterMs + performance.now());
    }
    expect(scripts()).toBe(before);
    expect(times).toEqual([...times].sort((one, other) => one - other));
  } finally {
    silent.close();
  }
});

describe('of a Cluster', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startCluster(3);
  });
  afterAll(() => cluster?.stop());
  const seeds = () => cluster.seeds.map(({ host, port }) => `redis://${host}:${port}`);

  test('one master that hangs lets its own keys wait alone', async () => {
    const sides = connect({ cluster: seeds() });
    await reconcile(sides);
    const keys = KEYS.map((key) => Buffer.from(key));
    const shards = await sides.target.shardsOf(keys);
    const hanging = cluster.nodes.find(({ port }) => shards[0]!.includes(`:${port}`))!;
    for (const { client } of cluster.nodes) await client.flushall();
    hanging.freeze();
    try {
      const results = await reconcile(sides);
      for (const [index, { outcome }] of results.entries())
        expect(outcome).toBe(shards[index] === shards[0] ? 'deferred' : 'repaired');
    } finally {
      hanging.thaw();
    }
    await eventually(async () => expect(outcomes(await reconcile(sides)).sort()).toEqual(['equal']));
  });

  async function heals(sides: LinkSides): Promise<void> {
    await eventually(async () => expect(outcomes(await reconcile(sides))).toEqual(['equal']));
  }

  test('all masters that hang let all keys wait, and nobody looks for masters meanwhile', async () => {
    const sides = connect({ cluster: seeds() });
    await heals(sides);
    for (const node of cluster.nodes) node.freeze();
    try {
      // Whose slots are at which master may be found out once more before that is known.
      await eventually(async () => expect(outcomes(await reconcile(sides))).toEqual(['deferred']));
      expect(outcomes(await reconcile(sides))).toEqual(['deferred']);
    } finally {
      for (const node of cluster.nodes) node.thaw();
    }
    await heals(sides);
  });

  test('masters that refuse their keys because a slot has no master let these wait', async () => {
    const sides = connect({ cluster: seeds() });
    await heals(sides);
    const slot = 16_383;
    const owner = cluster.masterOf(slot);
    for (const { client } of cluster.nodes) await client.cluster('DELSLOTS', slot);
    try {
      const isDown = async () => expect(await owner.client.cluster('INFO')).toContain('cluster_state:fail');
      await eventually(isDown);
      await eventually(async () => expect(outcomes(await reconcile(sides))).toEqual(['deferred']));
    } finally {
      await owner.client.cluster('ADDSLOTS', slot);
    }
    await heals(sides);
  });
});
