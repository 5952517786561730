/** A side that Sentinels name: after their failover the link works on the new master. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type KeyResult, reconcileKeys } from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import { freePort, type RedisServer, startRedis } from '../support/redis.js';
import { DEFAULT_OPTIONS } from './link.js';

const NAME = 'orders';
const KEY = Buffer.from('k');

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(...[args]: Parameters<typeof startRedis>): Promise<RedisServer> {
  const server = await startRedis(args);
  cleanups.push(() => server.stop());
  return server;
}

/** One Sentinel that decides alone. It writes into its own configuration. */
async function startSentinel(master: RedisServer): Promise<RedisServer> {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-sentinel-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'sentinel.conf');
  const port = await freePort();
  writeFileSync(file, `port ${port}\nsentinel monitor ${NAME} 127.0.0.1 ${master.port} 1\n`);
  const sentinel = await startRedis([], { port, arguments: [file, '--sentinel'] });
  cleanups.push(() => sentinel.stop());
  // By default it looks every ten seconds at who is a replica.
  await sentinel.client.call('SENTINEL', 'DEBUG', 'info-period', '100', 'publish-period', '100');
  return sentinel;
}

test.each(['source', 'target'] as const)(
  'a failover of the %s is followed by the next attempt',
  async (which) => {
    const master = await start();
    const replica = await start(['--replicaof', '127.0.0.1', `${master.port}`]);
    const sentinel = await startSentinel(master);
    const other = await start();
    await expect.poll(() => sentinel.client.call('SENTINEL', 'REPLICAS', NAME), { timeout: 20_000 }).toHaveLength(1);
    const followed = connectRedis({ sentinel: { name: NAME, urls: [sentinel.url] } }, { name: which });
    const fixed = connectRedis({ url: other.url }, { name: 'the other side' });
    cleanups.push(() => Promise.all([followed.close(), fixed.close()]));
    const sides = which === 'source' ? { source: followed, target: fixed } : { source: fixed, target: followed };
    const reconcile = async (): Promise<KeyResult> => {
      const [result] = await reconcileKeys(sides, [{ key: KEY }], DEFAULT_OPTIONS);
      return result!;
    };
    await (which === 'source' ? master : other).client.set(KEY, 'v');
    expect(await reconcile()).toMatchObject({ outcome: 'repaired' });

    await master.client.wait(1, 0);
    // Refused until it knows the replica well.
    const failOver = () => sentinel.client.call('SENTINEL', 'FAILOVER', NAME).catch((error: Error) => error.message);
    await expect.poll(failOver, { timeout: 20_000 }).toBe('OK');
    await expect.poll(() => replica.client.call('ROLE'), { timeout: 20_000 }).toContain('master');
    await expect.poll(() => master.client.call('ROLE'), { timeout: 20_000 }).toContain('slave');
    await (which === 'source' ? replica : other).client.set(KEY, 'newer');
    const results: KeyResult[] = [];
    await expect
      .poll(
        async () => {
          results.push(await reconcile());
          return results.at(-1);
        },
        { timeout: 20_000, interval: 100 },
      )
      .toMatchObject({ outcome: 'repaired' });
    // Nobody has to look after it: that is for what a person must decide.
    expect(results.filter((result) => result.outcome === 'failed' && !result.error.retryable)).toEqual([]);
    expect(await (which === 'source' ? other : replica).client.get(KEY)).toBe('newer');
  },
  90_000,
);
