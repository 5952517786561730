/** A sweep over Clusters and single servers on either side, and over their restarts. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { LinkSides } from '../../src/engine/index.js';
import { connectRedis, type RedisPort, slotOf } from '../../src/redis/index.js';
import type { SweepState, SweepSummary } from '../../workflows/sweep-messages.js';
import { portWith } from '../engine/link.js';
import { type Side, startClusterSide, startSide, type Topology } from '../engine/topology.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { swept } from './bed.js';

/** `MSET` of a Cluster takes keys of one slot alone. */
async function put({ client }: Side, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map((key) => client.set(key, `value of ${key}`)));
}
const keys = (count: number) => Array.from({ length: count }, (_, index) => `user:${index}`);

describe.each<[Topology, Topology]>([
  [3, 'one server'],
  ['one server', 3],
  [2, 3],
])('from %s to %s', (ofSource, ofTarget) => {
  let source: Side;
  let target: Side;
  beforeAll(async () => {
    [source, target] = await Promise.all([startSide('source', ofSource), startSide('target', ofTarget)]);
  });
  afterAll(() => Promise.all([source?.stop(), target?.stop()]));

  test('every key is compared once, and each that differs is found', async () => {
    const sides = { source: source.port, target: target.port };
    await Promise.all([put(source, keys(2_000)), put(target, keys(2_000))]);
    const { summary: equal } = await swept(sides);
    expect(equal).toMatchObject({ outcome: 'equal', compared: 2_000, redone: 0, targetOnly: 'counted' });
    await target.client.del('user:1');
    await target.client.set('user:2', 'other');
    await target.client.set('target:1', 'alone');
    const { differing, listed } = (await swept(sides)).summary!;
    expect(differing).toEqual({ missing: 1, extra: 1, type: 0, value: 1, expiry: 0 });
    expect(listed.map(({ key }) => key).sort()).toEqual(['target:1', 'user:1', 'user:2']);
  });
});

test('keys that are looked at one by one are within the budget of the link, and wait for it', async () => {
  const budget = { link: 'east-to-west', opsPerSecond: 1_000 };
  const [source, target] = await Promise.all([
    startSide('source', 'one server'),
    startSide('target', 'one server', { budget }),
  ]);
  onTestFinished(() => Promise.all([source.stop(), target.stop()]).then(() => {}));
  await put(source, keys(100));
  const sides = { source: source.port, target: target.port };
  const { summary } = await swept(sides, { repair: true });
  expect(summary).toMatchObject({ outcome: 'equal', compared: 100, repaired: 100, differing: { missing: 100 } });
  // The lease of the budget is no key of the application.
  expect((await swept(sides)).summary).toMatchObject({ outcome: 'equal', compared: 100, differing: { extra: 0 } });
});

describe('keys that move, and servers that are restarted', () => {
  let target: Side;
  beforeAll(async () => {
    target = await startSide('target', 'one server');
  });
  afterAll(() => target?.stop());
  afterEach(() => target.clear());

  /** A key that the target lacks, of the node that is gone through last. */
  async function withKeyToMove() {
    const source = await startClusterSide('source', 2);
    onTestFinished(() => source.stop());
    await Promise.all([put(source, keys(3_000)), put(target, keys(3_000))]);
    const [to, from] = source.nodes as [RedisServer, RedisServer];
    const moved = keys(3_000).find((key) => source.nodeOf(key) === from)!;
    await target.client.del(moved);
    return { source, to, from, moved };
  }

  test('a key whose slot moves to a node that was gone through is not missed', async () => {
    const { source, to, moved } = await withKeyToMove();
    const move = () => source.cluster.moveSlot(slotOf(Buffer.from(moved)), to);
    const sides = { source: atPage(source.port, 3, move), target: target.port };
    const { listed, compared, redone } = await sweptInTheEnd(sides);
    expect(listed).toMatchObject([{ key: moved, encoding: 'utf8', difference: 'missing' }]);
    expect(compared).toBe(3_000);
    expect(redone).toBeGreaterThan(0);
  });

  test('while a slot is on its way nothing is said: a key of it is not missed', async () => {
    const { source, to, from, moved } = await withKeyToMove();
    const slot = slotOf(Buffer.from(moved));
    // The key is there already, and the rest of its slot is not.
    const move = async () => {
      await source.cluster.startMovingSlot(slot, to);
      await from.client.call('MIGRATE', '127.0.0.1', to.port, moved, 0, 5_000);
    };
    const sides = { source: atPage(source.port, 3, move), target: target.port };
    let state: SweepState | undefined;
    const onProgress = (reached: SweepState) => {
      state = reached;
    };
    await expect(swept(sides, {}, { onProgress })).rejects.toThrow(/are being moved|does not have/);
    await source.cluster.moveSlot(slot, to);
    const { listed, compared } = await sweptInTheEnd({ source: source.port, target: target.port }, state);
    expect(listed).toMatchObject([{ key: moved, encoding: 'utf8', difference: 'missing' }]);
    expect(compared).toBe(3_000);
  });

  test('after a restart in the middle the part of that node is done once more, and that alone', async () => {
    const servers = await Promise.all([startRedis(), startRedis()]);
    const second = await startSide('target', 2);
    const address = await startAddress(servers[0].port);
    const source = connectRedis({ url: `redis://127.0.0.1:${address.port}` }, { name: 'source' });
    onTestFinished(async () => {
      await Promise.all([source.close(), second.stop(), ...servers.map((server) => server.stop())]);
      address.close();
    });
    const values = Object.fromEntries(keys(3_000).map((key) => [key, `value of ${key}`]));
    await Promise.all([...servers.map(({ client }) => client.mset(values)), put(second, keys(3_000))]);
    await second.client.del('user:1');
    await second.client.set('target:1', 'alone');
    const sides = { source, target: second.port };
    const found = new AbortController();
    const { state } = await swept(
      sides,
      { rate: 4_000 },
      {
        signal: found.signal,
        onProgress: (reached) => {
          if (reached.parts[0]!.tally.listed.length > 0) found.abort();
        },
      },
    );
    expect(state.parts[0]!.tally.differing.missing).toBe(1);
    address.passTo(servers[1].port);
    const { listed, compared, redone } = await sweptInTheEnd(sides, state);
    expect(listed.map(({ key }) => key).sort()).toEqual(['target:1', 'user:1']);
    expect(compared).toBe(3_001);
    expect(redone).toBe(1);
  });

  test('a target that comes back empty is not equal because it was', async () => {
    const [source, first] = [await startSide('source', 'one server'), await startRedis()];
    onTestFinished(() => source.stop());
    const port = connectRedis({ url: first.url }, { name: 'target' });
    onTestFinished(() => port.close());
    await Promise.all([
      put(source, keys(2_000)),
      ...keys(2_000).map((key) => first.client.set(key, `value of ${key}`)),
    ]);
    const restart = async () => {
      await first.stop();
      const again = await startRedis([], { port: first.port });
      onTestFinished(() => again.stop());
    };
    const { differing } = await sweptInTheEnd({ source: atPage(source.port, 4, restart), target: port });
    expect(differing.missing).toBe(2_000);
  });
});

/** Something happens before that page is asked for. */
function atPage(port: RedisPort, page: number, happens: () => Promise<void>): RedisPort {
  let asked = 0;
  return portWith(port, {
    async scanKeys(place, scan) {
      asked += 1;
      if (asked === page) await happens();
      return port.scanKeys(place, scan);
    },
  });
}

/** As Temporal does it: what failed is tried again, from where it was told to be. */
async function sweptInTheEnd(sides: LinkSides, state?: SweepState): Promise<SweepSummary> {
  const onProgress = (reached: SweepState) => {
    state = reached;
  };
  return eventually(async () => (await swept(sides, {}, { state, onProgress })).summary!);
}

/** An address that one server has at first, and then another. */
async function startAddress(port: number) {
  let behind = port;
  const sockets = new Set<Socket>();
  const relay = createServer((client) => {
    const server = connect(behind, '127.0.0.1');
    for (const socket of [client, server]) sockets.add(socket.on('error', () => {}));
    client.pipe(server).pipe(client);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return {
    port: (relay.address() as AddressInfo).port,
    passTo(next: number) {
      behind = next;
      cut();
    },
    close() {
      relay.close();
      cut();
    },
  };
}
