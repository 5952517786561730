/**
 * Redis by TLS: one server, a Cluster, behind Sentinels; with every certificate that can be wrong.
 */
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Endpoint } from '../../src/config.js';
import { connectKeyServers } from '../../src/redis/index.js';
import { type Certificate, type Certificates, makeCertificates } from '../support/authority.js';
import { eventually } from '../support/eventually.js';
import { freePort, type RedisServer, startRedis } from '../support/redis.js';
import { startSentinelGroup } from '../support/sentinel.js';
import { startTlsProxy } from './terminating.js';

let certificates: Certificates;
let server: RedisServer;
let tlsPort: number;
let tls: { caFile: string; certFile: string; keyFile: string };
beforeAll(async () => {
  certificates = makeCertificates();
  tls = { caFile: certificates.authority.caFile, ...certificates.client };
  tlsPort = await freePort();
  server = await startRedis([
    ...['--tls-port', `${tlsPort}`, '--tls-auth-clients', 'yes', '--tls-ca-cert-file', tls.caFile],
    ...['--tls-cert-file', certificates.right.certFile, '--tls-key-file', certificates.right.keyFile],
    ...['--cluster-enabled', 'yes', '--tls-cluster', 'yes', '--cluster-port', `${await freePort()}`],
  ]);
  await server.client.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await eventually(async () => expect(`${await server.client.cluster('INFO')}`).toContain('cluster_state:ok'));
});
afterAll(async () => {
  await server?.stop();
  certificates?.remove();
});

const show = ({ certFile, keyFile }: Certificate) =>
  server.client.config('SET', 'tls-cert-file', certFile, 'tls-key-file', keyFile);

/** @returns why it can't be reached, in one line; null: it can */
async function refusal(endpoint: Endpoint, commandTimeoutMs = 5_000): Promise<string | null> {
  const servers = connectKeyServers(endpoint, { name: 'target of link l', commandTimeoutMs });
  try {
    await servers.check();
    return null;
  } catch (error) {
    return (error as Error).message;
  } finally {
    servers.close();
  }
}

const endpoints = (): Endpoint[] => {
  const url = `rediss://127.0.0.1:${tlsPort}`;
  return [
    { url, tls },
    { cluster: [url], tls },
  ];
};

describe('a certificate', () => {
  it('of a known authority is good for one server and for all of a Cluster', async () => {
    for (const endpoint of endpoints()) expect(await refusal(endpoint)).toBeNull();
    const servers = connectKeyServers(endpoints()[1]!, { name: 'target of link l' });
    onTestFinished(() => servers.close());
    await servers.send('k', ['SET', 'k', 'v']);
    expect(await server.client.get('k')).toBe('v');
  });

  it.each<[what: string, how: (tls: object) => object | Promise<object>, says: RegExp]>([
    [
      'of an authority that is not trusted',
      (tls) => ({ ...tls, caFile: certificates.stranger.caFile }),
      /cannot be reached: nobody who is trusted here has signed its certificate; give that authority's as tls\.caFile \(\w+\)$/,
    ],
    [
      'that has expired',
      async (tls) => {
        await show(certificates.expired);
        return tls;
      },
      /its certificate has expired; renew it there \(CERT_HAS_EXPIRED\)$/,
    ],
    [
      'for another name',
      async (tls) => {
        await show(certificates.ofOtherName);
        return tls;
      },
      /its certificate is for another name; correct the host, or say with tls\.serverName which name is right \(\w+\)$/,
    ],
    [
      'of ours that is missing',
      ({ caFile }: { caFile?: string }) => ({ caFile }),
      /it wants a certificate that it trusts from whoever connects; give one as tls\.certFile \(\w+\)$/,
    ],
    [
      'of ours that it does not trust',
      (tls) => ({ ...tls, ...certificates.stranger.issue() }),
      /it does not trust the certificate of tls\.certFile; give one of an authority that it trusts \(\w+\)$/,
    ],
    [
      'in a file that is not there',
      (tls) => ({ ...tls, caFile: '/nowhere/ca.crt' }),
      /cannot be reached: the file \/nowhere\/ca\.crt can't be read \(ENOENT\); check that it is there and who may read it$/,
    ],
    [
      'in a file that has none',
      (tls) => ({ ...tls, caFile: certificates.authority.file('empty.crt', 'nothing') }),
      /empty\.crt is no PEM: it has no line -----BEGIN …; write the whole certificate or key$/,
    ],
    [
      'that does not belong to its key',
      (tls) => ({ ...tls, keyFile: certificates.right.keyFile }),
      /can't be used for TLS \(ERR_\w+\); check that they are PEM, and that key and certificate belong together$/,
    ],
  ])('%s is one line', async (_what, how, says) => {
    onTestFinished(() => show(certificates.right) as Promise<never>);
    const changed = await how(tls);
    for (const endpoint of endpoints()) expect(await refusal({ ...endpoint, tls: changed })).toMatch(says);
  });

  it('for another name is right where that name is asked for', async () => {
    onTestFinished(() => show(certificates.right) as Promise<never>);
    await show(certificates.ofOtherName);
    for (const endpoint of endpoints())
      expect(await refusal({ ...endpoint, tls: { ...tls, serverName: 'other.example' } })).toBeNull();
  });

  it('is wanted of a port that does not speak TLS: Redis says nothing then, and that is one line', async () => {
    const url = `rediss://127.0.0.1:${server.port}`;
    expect(await refusal({ url, tls }, 300)).toMatch(/no answer to the attempt to connect \(ETIMEDOUT\); check that/);
  });
});

describe('files that are replaced while it runs', () => {
  it('count from the next connect on: authority, certificate, password', async () => {
    const { authority, stranger } = certificates;
    const passwordFile = authority.file('password', 'old\n');
    await server.client.config('SET', 'requirepass', 'old');
    await server.client.auth('old');
    onTestFinished(async () => {
      await server.client.config('SET', 'requirepass', '');
      await show(certificates.right);
    });
    const caFile = authority.file('rotated.crt', '');
    copyFileSync(authority.caFile, caFile);
    const endpoint = { ...endpoints()[0]!, passwordFile, tls: { ...tls, caFile } };
    const servers = connectKeyServers(endpoint, { name: 'target of link l' });
    onTestFinished(() => servers.close());
    await servers.send('k', ['SET', 'k', '1']);

    await server.client.config('SET', 'requirepass', 'new');
    authority.file('password', 'new');
    await show(stranger.issue());
    copyFileSync(stranger.caFile, caFile);
    await server.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    // The first one may still find the connection that was closed.
    await eventually(() => servers.send('k', ['SET', 'k', '2']));
  });
});

describe('behind Sentinels', () => {
  it('the Sentinels and the master are asked by TLS, each at the address where it is reached', async () => {
    const group = await startSentinelGroup('mymaster');
    onTestFinished(() => group.stop());
    const clients = certificates.authority.caFile;
    const master = await startTlsProxy(group.master.port, certificates.right, clients);
    const sentinels = await Promise.all(
      group.sentinels.map(({ port }) => startTlsProxy(port, certificates.right, clients)),
    );
    onTestFinished(async () => void (await Promise.all([master, ...sentinels].map((proxy) => proxy.close()))));
    const endpoint = {
      sentinel: { name: 'mymaster', urls: sentinels.map(({ port }) => `rediss://127.0.0.1:${port}`) },
      addressMap: { [`127.0.0.1:${group.master.port}`]: `127.0.0.1:${master.port}` },
    };
    expect(await refusal({ ...endpoint, tls })).toBeNull();
    expect(master.taken).toBeGreaterThan(0);
    expect(await refusal({ ...endpoint, tls: { ...tls, caFile: certificates.stranger.caFile } })).toMatch(
      /cannot be reached: nobody who is trusted here has signed its certificate; give that authority's as tls\.caFile/,
    );
    expect(await refusal({ ...endpoint, tls: { caFile: clients } })).toMatch(
      /it wants a certificate that it trusts from whoever connects; give one as tls\.certFile/,
    );
  });

  it('certificates that are replaced count for what listens to the Sentinels, too', async () => {
    const { authority, stranger, right } = certificates;
    const group = await startSentinelGroup('mymaster');
    onTestFinished(() => group.stop());
    const master = await startTlsProxy(group.master.port, right);
    const sentinel = await startTlsProxy(group.sentinels[0]!.port, right);
    onTestFinished(async () => void (await Promise.all([master.close(), sentinel.close()])));
    const caFile = authority.file('replaced.crt', '');
    copyFileSync(authority.caFile, caFile);
    const endpoint = {
      sentinel: { name: 'mymaster', urls: [`rediss://127.0.0.1:${sentinel.port}`] },
      addressMap: { [`127.0.0.1:${group.master.port}`]: `127.0.0.1:${master.port}` },
      tls: { caFile },
    };
    const servers = connectKeyServers(endpoint, { name: 'target of link l' });
    onTestFinished(() => servers.close());
    await servers.send('k', ['SET', 'k', 'v']);
    // Asked for the master once, and listened to from then on.
    await eventually(() => expect(sentinel.taken).toBe(2));

    // While the file is being written, those that were good go on to be.
    authority.file('replaced.crt', '');
    sentinel.renew(right);
    await eventually(() => expect(sentinel.taken).toBe(3));
    copyFileSync(stranger.caFile, caFile);
    sentinel.renew(stranger.issue());
    await eventually(() => expect(sentinel.taken).toBe(4));
    // All the time the master was not connected to anew.
    expect(master.taken).toBe(1);
  });

  it('a Sentinel that says nothing is asked by TLS once for its reason, not with each attempt', async () => {
    let taken = 0;
    const silent = createServer(() => {
      taken += 1;
    }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as AddressInfo;
    const sentinel = { name: 'mymaster', urls: [`rediss://127.0.0.1:${port}`] };
    const servers = connectKeyServers({ sentinel, tls }, { name: 'target of link l', commandTimeoutMs: 200 });
    onTestFinished(() => servers.close());
    const attempt = () => expect(servers.send('k', ['GET', 'k'])).rejects.toThrow('cannot be reached');
    await attempt();
    expect(taken).toBe(2);
    // Between two attempts there is a pause, in which commands fail at once.
    await eventually(async () => {
      await attempt();
      expect(taken).toBeGreaterThan(2);
    });
    expect(taken).toBe(3);
  });
});
