/**
 * A Cluster of three masters by TLS alone, at work: as source, as target and under a DualWriter,
 * while slots move and certificates are replaced.
 */
import { readFileSync } from 'node:fs';
import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { createDualWriter, mirrorClusterOptions } from '../../src/dual-write/index.js';
import { connectKeyServers } from '../../src/redis/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { startProxy } from '../../src/stack/proxy.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { type Certificate, type Certificates, makeCertificates } from '../support/authority.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../support/keymend.js';
import type { RedisServer } from '../support/redis.js';

let certificates: Certificates;
let cluster: RedisCluster;
let sandbox: Sandbox;
let tls: { caFile: string; certFile: string; keyFile: string };
beforeAll(async () => {
  certificates = makeCertificates();
  const { authority, client, right } = certificates;
  tls = { caFile: authority.file('used.crt', readFileSync(authority.caFile, 'utf8')), ...client };
  const ofServer = ['--tls-ca-cert-file', authority.caFile, '--tls-cert-file', right.certFile, '--tls-key-file'];
  [cluster, sandbox] = await Promise.all([
    startCluster(3, { tls: [...ofServer, right.keyFile, '--tls-auth-clients', 'yes'] }),
    createSandbox(),
  ]);
});
afterAll(async () => {
  await sandbox?.close();
  await cluster?.stop();
  certificates?.remove();
});

const KEYS = Array.from({ length: 12 }, (_, index) => `user:${index}`);
const [MOVES] = KEYS as [string];

/** To whoever does not have it. */
async function moveSlotOf(key: string): Promise<void> {
  const slot = slotOf(Buffer.from(key));
  await cluster.moveSlot(slot, cluster.nodes.find((node) => node !== cluster.masterOf(slot))!);
}

const onEach = (work: (node: RedisServer) => Promise<unknown>) => Promise.all(cluster.nodes.map(work));
const show = ({ certFile, keyFile }: Certificate, ca: string) =>
  onEach(({ client }) =>
    client.config('SET', 'tls-ca-cert-file', ca, 'tls-cert-file', certFile, 'tls-key-file', keyFile),
  );
const endpoint = () => ({ cluster: [`rediss://127.0.0.1:${cluster.tlsPortOf(cluster.nodes[0]!)}`], tls });

async function tlsClient<T>(node: RedisServer, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(cluster.tlsPortOf(node), '127.0.0.1', { protocol: 2, tls: material() });
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}

const material = () => ({
  ca: readFileSync(tls.caFile),
  cert: readFileSync(tls.certFile),
  key: readFileSync(tls.keyFile),
});

it('takes the writes of a DualWriter, also of a slot that moves', async () => {
  const seeds = cluster.nodes.map((node) => ({ host: '127.0.0.1', port: cluster.tlsPortOf(node) }));
  const usual = mirrorClusterOptions(2_000);
  const target = new Cluster(seeds, { ...usual, redisOptions: { ...usual.redisOptions, tls: material() } });
  const source = new Redis(sandbox.source.url, { protocol: 2 });
  onTestFinished(() => void [source, target].map((client) => client.disconnect()));
  const records: FailedWrite[] = [];
  const sink = { publish: async (all: readonly FailedWrite[]) => void records.push(...all) };
  const redis = createDualWriter({ link: 'l', source, target, records: sink, origin: 'test', onError: () => {} });
  const arrives = (key: string, value: string) =>
    eventually(async () => {
      await redis.set(key, value);
      expect(await cluster.client.get(key)).toBe(value);
    });
  for (const key of KEYS) await arrives(key, 'connected');
  records.length = 0;
  for (const key of KEYS) await redis.set(key, 'mirrored');
  await moveSlotOf(MOVES);
  await arrives(MOVES, 'moved');
  await redis.close();
  const seen = await Promise.all(KEYS.slice(1).map((key) => cluster.client.get(key)));
  expect(new Set(seen)).toEqual(new Set(['mirrored']));
  // The write that meets the move is a record, as without TLS.
  const moved = [MOVES, expect.stringMatching(/^(MOVED|ASK)$/)];
  for (const { key, error } of records) expect([key, error?.code]).toEqual(moved);
});

it('repairs from it and to it, over a slot that moves and certificates that are replaced', async () => {
  const { source, target } = sandbox;
  const links = [
    { name: 'into', source: { url: source.url }, target: endpoint() },
    { name: 'out', source: endpoint(), target: { url: target.url } },
  ].map((link) => ({ ...link, workflowIdPrefix: `${sandbox.prefix}${link.name}/`, settle: '100ms' }));
  sandbox.configure({ config: { links } });
  const running = await sandbox.start('start');

  /** Writes all on the one source, and lets them go through both links. */
  async function travel(value: string): Promise<void> {
    await source.client.mset(...KEYS.flatMap((key) => [key, value]));
    for (const link of ['into', 'out']) {
      await sandbox.producer.send({ topic: sandbox.topic, messages: KEYS.map((key) => recordOf(key, { link })) });
      const read = (key: string) => (link === 'into' ? cluster.client.get(key) : target.client.get(key));
      await eventually(async () => expect(new Set(await Promise.all(KEYS.map(read)))).toEqual(new Set([value])));
    }
  }
  await travel('first');
  await moveSlotOf(MOVES);
  await travel('moved');

  const { authority, stranger } = certificates;
  const both = `${readFileSync(authority.caFile)}${readFileSync(stranger.caFile)}`;
  authority.file('used.crt', both);
  // The clients' own is of the old authority until the end.
  await show(stranger.issue(), authority.file('both.crt', both));
  await onEach(({ client }) => client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'));
  await travel('rotated');
  await moveSlotOf(MOVES);
  await travel('moved again');

  for (const link of ['into', 'out']) {
    const sweep = await sandbox.keymend('sweep', '--link', link, '--output', 'json');
    expect(JSON.parse(sweep.stdout)).toMatchObject({ outcome: 'equal' });
  }
  expect(await running.stop()).toBe(0);
});

it('is found by an address map where it announces other ports, also when it says that a slot has moved', async () => {
  const addressMap: Record<string, string> = {};
  const proxies = await Promise.all(
    cluster.nodes.map(async (node, index) => {
      const proxy = await startProxy({ target: { host: '127.0.0.1', port: cluster.tlsPortOf(node) } });
      // Nobody listens there.
      await node.client.config('SET', 'cluster-announce-tls-port', `${index + 1}`);
      addressMap[`127.0.0.1:${index + 1}`] = `127.0.0.1:${proxy.port}`;
      return proxy;
    }),
  );
  onTestFinished(async () => void (await Promise.all(proxies.map((proxy) => proxy.close()))));
  // What a node tells of the others it has from them, and connects with them anew then.
  await onEach((node) =>
    eventually(async () => {
      const slots = JSON.stringify(await tlsClient(node, (client) => client.call('CLUSTER', 'SLOTS')));
      for (const port of [1, 2, 3]) expect(slots).toContain(`"127.0.0.1",${port},`);
      expect(`${await node.client.cluster('NODES')}`).not.toContain('disconnected');
    }),
  );
  const mapped = { cluster: [`rediss://127.0.0.1:${proxies[0]!.port}`], tls, addressMap };
  const servers = connectKeyServers(mapped, { name: 'target of link l', commandTimeoutMs: 5_000 });
  onTestFinished(() => servers.close());
  for (const key of KEYS) await servers.send(key, ['SET', key, 'mapped']);
  await moveSlotOf(MOVES);
  await eventually(() => servers.send(MOVES, ['SET', MOVES, 'after']));
  expect(await cluster.masterOf(slotOf(Buffer.from(MOVES))).client.get(MOVES)).toBe('after');
});
