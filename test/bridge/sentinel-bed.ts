/** A master, a replica and one Sentinel that watches them: enough for a failover. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import { freePort, type RedisServer, startRedis } from '../support/redis.js';
import { until } from './bridge-bed.js';

export const MASTER_NAME = 'mymaster';

/** Waits until the replica has all that the master has now. */
export async function replicated(master: RedisServer, replica: RedisServer): Promise<void> {
  const offset = async ({ client }: RedisServer, name: string) =>
    Number(new RegExp(`${name}:(\\d+)`).exec(await client.info('replication'))?.[1] ?? -1);
  const wanted = await offset(master, 'master_repl_offset');
  await until(async () => {
    if ((await offset(replica, 'slave_repl_offset')) < wanted) throw new Error('not replicated yet');
  });
}

/** Cleans up after the test that calls it. */
export async function sentinelBed() {
  const first = await startRedis();
  const second = await startRedis(['--replicaof', '127.0.0.1', `${first.port}`, '--repl-diskless-sync-delay', '0']);
  const directory = mkdtempSync(join(tmpdir(), 'keymend-sentinel-'));
  const port = await freePort();
  const file = join(directory, 'sentinel.conf');
  const settings = [
    `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${first.port} 1`,
    `sentinel down-after-milliseconds ${MASTER_NAME} 1000`,
    `sentinel failover-timeout ${MASTER_NAME} 5000`,
  ];
  writeFileSync(file, `${settings.join('\n')}\n`);
  const child: ChildProcess = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  const sentinel = new Redis(port, '127.0.0.1', { protocol: 2, retryStrategy: () => 50, maxRetriesPerRequest: null });
  sentinel.on('error', () => {});
  onTestFinished(async () => {
    process.removeListener('exit', killOnExit);
    sentinel.disconnect();
    child.kill('SIGKILL');
    await exited;
    await Promise.all([first.stop(), second.stop()]);
    rmSync(directory, { recursive: true, force: true });
  });

  async function told(): Promise<number> {
    const [, port] = (await sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER_NAME)) as [string, string];
    return Number(port);
  }
  await until(async () => {
    const replicas = (await sentinel.call('SENTINEL', 'REPLICAS', MASTER_NAME)) as unknown[];
    if (replicas.length === 0) throw new Error('the Sentinel does not know the replica yet');
    if (!/master_link_status:up/.test(await second.client.info('replication'))) throw new Error('not linked yet');
  });

  const [one, other] = [first, second] as [RedisServer, RedisServer];
  return {
    port,
    first: one,
    second: other,
    address: { sentinel: { name: MASTER_NAME, urls: [`redis://127.0.0.1:${port}`] } },
    /** As an application has it. */
    options: { sentinels: [{ host: '127.0.0.1', port }], name: MASTER_NAME, lazyConnect: true },

    /** In order. The old master lives on as a master for some seconds, until the Sentinel makes it a replica of the new one. */
    async failover(): Promise<void> {
      await replicated(one, other);
      const subscriber = sentinel.duplicate();
      try {
        await subscriber.subscribe('+switch-master');
        const switched = once(subscriber, 'message');
        await until(() => sentinel.call('SENTINEL', 'FAILOVER', MASTER_NAME));
        await switched;
      } finally {
        subscriber.disconnect();
      }
      await this.untilSecondIsMaster();
    },

    async untilSecondIsMaster(): Promise<void> {
      await until(async () => {
        if ((await told()) !== other.port) throw new Error('the Sentinel still names the old master');
        if (!/role:master/.test(await other.client.info('replication'))) throw new Error('not a master yet');
      });
    },
  };
}
