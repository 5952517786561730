/** Clients that listen to Sentinels, whose connections break at any time. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { connectKeyServers, outliveSentinels } from '../../src/redis/index.js';
import { eventually } from '../support/eventually.js';
import { startRedis } from '../support/redis.js';
import { type Relay, startRelay } from '../support/relay.js';
import { type SentinelGroup, startSentinelGroup } from '../support/sentinel.js';

let group: SentinelGroup;
beforeAll(async () => {
  group = await startSentinelGroup('mymaster');
});
afterAll(() => group?.stop());

/** What would have ended a process that has no say in it. */
function unhandledRejections(): unknown[] {
  const found: unknown[] = [];
  const note = (reason: unknown) => void found.push(reason);
  process.on('unhandledRejection', note);
  onTestFinished(() => void process.off('unhandledRejection', note));
  return found;
}

async function relayOfSentinel(): Promise<Relay> {
  const relay = await startRelay(group.sentinels[0]!.port);
  onTestFinished(() => relay.close());
  return relay;
}

/** Who listens to a Sentinel, which is told of each connection by its port. */
async function listeners(relay: Relay): Promise<number> {
  const sentinel = new Redis(group.sentinels[0]!.port, '127.0.0.1', { protocol: 2, enableReadyCheck: false });
  onTestFinished(() => sentinel.disconnect());
  const list = String(await sentinel.client('LIST'));
  return list
    .split('\n')
    .filter((line) => relay.ports().some((port) => line.includes(`:${port} `)) && / sub=1 /.test(line)).length;
}

/** The ways in which keymend connects. */
const CLIENTS: readonly (readonly [string, (port: number) => Promise<() => void>])[] = [
  [
    'a link',
    async (port) => {
      const sentinel = { name: 'mymaster', urls: [`redis://127.0.0.1:${port}`] };
      const servers = connectKeyServers({ sentinel }, { name: 'target of link l' });
      await servers.send('k', ['SET', 'k', 'v']);
      return () => servers.close();
    },
  ],
  [
    'a mirror that was connected before',
    async (port) => {
      const client = new Redis({ ...mirrorOptions(), name: 'mymaster', sentinels: [{ host: '127.0.0.1', port }] });
      await new Promise((resolve) => client.once('ready', resolve));
      outliveSentinels(client);
      return () => client.disconnect();
    },
  ],
];

test.each(CLIENTS)('%s closes while a Sentinel is silent that was listened to anew', async (_name, connect) => {
  const unhandled = unhandledRejections();
  const relay = await relayOfSentinel();
  const close = await connect(relay.port);
  await eventually(async () => expect(await listeners(relay)).toBe(1));
  relay.holdFrom('subscribe');
  relay.cut();
  await relay.held();
  close();
  await eventually(async () => expect(await relay.clients()).toBe(0));
  // Rejections are told of at the end of a turn.
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).toEqual([]);
});

/** Two servers as a further group of the first Sentinel. @returns makes the replica its master */
async function furtherGroup(name: string): Promise<() => Promise<void>> {
  const [master, sentinel, subscriber] = [
    await startRedis(),
    ...[0, 1].map(() => new Redis(group.sentinels[0]!.port, '127.0.0.1', { protocol: 2, enableReadyCheck: false })),
  ] as const;
  const replica = await startRedis(['--replicaof', `127.0.0.1 ${master.port}`]);
  onTestFinished(async () => {
    await sentinel!.call('SENTINEL', 'REMOVE', name);
    sentinel!.disconnect();
    subscriber!.disconnect();
    await Promise.all([master.stop(), replica.stop()]);
  });
  await eventually(async () => expect(await replica.client.info('replication')).toContain('master_link_status:up'));
  await sentinel!.call('SENTINEL', 'MONITOR', name, '127.0.0.1', master.port, 1);
  await subscriber!.subscribe('+switch-master');
  return async () => {
    const told = new Promise((resolve) => subscriber!.once('message', (_, message) => resolve(message)));
    // It may not know yet of the replica, or that this can be promoted.
    await eventually(async () => expect(await sentinel!.call('SENTINEL', 'FAILOVER', name)).toBe('OK'));
    expect(await told).toMatch(`${name} 127.0.0.1 ${master.port} `);
  };
}

/** Of the connections to the master. */
async function connectionIds(): Promise<string[]> {
  const list = String(await group.master.client.client('LIST', 'TYPE', 'NORMAL'));
  const lines = list.split('\n').filter((line) => !line.includes(' name=sentinel-'));
  return lines.flatMap((line) => /^id=(\d+)/.exec(line)?.[1] ?? []).sort();
}

test.each(CLIENTS)('%s keeps its connection when another group of its Sentinels fails over', async (_name, connect) => {
  const failOver = await furtherGroup('mymaster-2');
  const relay = await relayOfSentinel();
  const close = await connect(relay.port);
  onTestFinished(close);
  await eventually(async () => expect(await listeners(relay)).toBe(1));
  const before = await connectionIds();
  await failOver();
  // What is asked on the same way is answered behind what was told.
  const behind = new Redis(relay.port, '127.0.0.1', { protocol: 2, enableReadyCheck: false });
  onTestFinished(() => behind.disconnect());
  for (let round = 0; round < 3; round++) await behind.ping();
  expect(await listeners(relay)).toBe(1);
  expect(await connectionIds()).toEqual(before);
});

test.each(CLIENTS)('%s listens again to a Sentinel that was away', async (_name, connect) => {
  const relay = await relayOfSentinel();
  const close = await connect(relay.port);
  onTestFinished(close);
  await eventually(async () => expect(await listeners(relay)).toBe(1));
  relay.cut();
  await eventually(async () => expect(await listeners(relay)).toBe(1));
});
