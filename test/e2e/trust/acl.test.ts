/** Users with the least rights: what `acl print` says is enough, and nothing tried is refused. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDualWriter, createOutbox, mirrorOptions } from '../../../src/dual-write/index.js';
import { compareRedis } from '../../support/compare.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Sandbox } from '../../support/keymend.js';
import type { RedisServer } from '../../support/redis.js';

interface User {
  readonly side: 'source' | 'target';
  readonly role: 'keymend' | 'application';
  readonly user: string;
  readonly rules: readonly string[];
}

const LINK = 'acl';
let sandbox: Sandbox;
let users: readonly User[];
beforeAll(async () => {
  sandbox = await createSandbox();
  const as = (server: RedisServer) => ({ url: server.url.replace('//', '//mender:secret@') });
  sandbox.configure({
    link: { name: LINK, source: as(sandbox.source), target: as(sandbox.target), budget: { opsPerSecond: 1_000 } },
    config: { intake: 'redis-stream' },
  });
  users = JSON.parse((await sandbox.keymend('acl', 'print', '--output', 'json')).stdout).users;
  for (const { side, role, user, rules } of users) {
    // An application that does nothing but write and read strings under one prefix.
    const own = role === 'application' ? ['~app:*', '+set', '+get', '+client|setname', '+info'] : [];
    await sandbox[side].client.call('ACL', 'SETUSER', user, 'reset', 'on', '>secret', ...own, ...rules);
  }
});
afterAll(() => sandbox?.close());

const clientOf = (server: RedisServer, options: object = {}) =>
  new Redis(server.url.replace('//', '//application:secret@'), { ...options, protocol: 2 });

/** What was refused, as the servers have it: the command and the user. */
async function refused(): Promise<unknown[]> {
  const logs = await Promise.all([sandbox.source, sandbox.target].map(({ client }) => client.call('ACL', 'LOG')));
  return (logs as string[][][]).flat().map((entry) => {
    const value = (name: string) => entry[entry.indexOf(name as never) + 1];
    return [value('username'), value('reason'), value('object')].join(' ');
  });
}

it('is printed for people without a password', async () => {
  const { stdout } = await sandbox.keymend('acl', 'print', '--link', LINK);
  expect(stdout).toMatch(/^ACL SETUSER mender reset on >PASSWORD %R~\* ~keymend:\* \+/m);
  expect(stdout).toMatch(/^ACL SETUSER application ~keymend:writer:\* \+eval /m);
  expect(stdout).not.toContain('secret');
});

it('is enough to repair, sweep and look, for keymend and for an application', async () => {
  const [source, target] = [clientOf(sandbox.source), clientOf(sandbox.target, mirrorOptions(500))];
  const records = createOutbox({ client: source });
  const redis = createDualWriter({ link: LINK, source, target, records, origin: 'app', onError: () => {} });
  await redis.set('app:mirrored', '1');
  await sandbox.target.client.config('SET', 'min-replicas-to-write', '1');
  await redis.set('app:failed', '1');
  await eventually(async () => expect(await sandbox.source.client.xlen('keymend:outbox')).toBeGreaterThan(0));
  await sandbox.target.client.config('SET', 'min-replicas-to-write', '0');

  const running = await sandbox.start('start');
  await eventually(async () => expect(await sandbox.target.client.get('app:failed')).toBe('1'));
  await sandbox.source.client.hset('app:hash', { f: '1' });
  await sandbox.target.client.set('app:extra', '1');
  const sweep = await sandbox.keymend('sweep', '--repair', '--output', 'json');
  expect(JSON.parse(sweep.stdout)).toMatchObject({ outcome: 'equal', repaired: 2 });
  expect(await compareRedis(sandbox.source.client, sandbox.target.client)).toEqual([]);
  const status = JSON.parse((await sandbox.keymend('status', '--output', 'json')).stdout);
  expect(JSON.stringify(status)).not.toContain('NOPERM');
  expect((await sandbox.keymend('acl', 'check')).code).toBe(0);
  expect(await running.stop()).toBe(0);
  expect(running.log()).not.toContain('NOPERM');
  await redis.close();
  for (const client of [source, target]) client.disconnect();
  expect(await refused()).toEqual([]);
});

it('lets keymend write nothing of the application on the source', async () => {
  const client = new Redis(sandbox.source.url.replace('//', '//mender:secret@'), { protocol: 2 });
  for (const write of [() => client.call('UNLINK', 'app:failed'), () => client.call('XADD', 'app:x', '*', 'f', 'v')])
    await expect(write()).rejects.toThrow('NOPERM');
  client.disconnect();
});

it('is found out to be missing, with the command that mends it', async () => {
  await sandbox.target.client.call('ACL', 'SETUSER', 'mender', '-restore');
  await sandbox.source.client.call('ACL', 'SETUSER', 'mender', '-xreadgroup');
  const { code, stdout } = await sandbox.keymend('acl', 'check', '--output', 'json');
  expect(code).toBe(1);
  const { checks } = JSON.parse(stdout) as { checks: { level: string; message: string; remedy: string | null }[] };
  expect(checks.map(({ level, remedy }) => [level, remedy])).toEqual([
    ['warn', 'ACL SETUSER mender +xreadgroup'],
    ['fail', 'ACL SETUSER mender +restore'],
  ]);
});

it('is found out to be missing of an application, too, over the connection of keymend', async () => {
  const check = () => sandbox.keymend('acl', 'check', '--application', 'application', '--side', 'target');
  expect(await check()).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^ok .* user application may do what an application with a DualWriter needs$/m),
  });
  await sandbox.target.client.call('ACL', 'SETUSER', 'application', '-evalsha');
  expect(await check()).toMatchObject({ code: 1, stdout: expect.stringContaining('ACL SETUSER application +evalsha') });
});

it('takes no rights away from the user default, which others are as well', async () => {
  const { source, target } = sandbox;
  const url = source.url.replace('//', '//default:secret@');
  sandbox.configure({ link: { name: LINK, source: { url }, target: { url: target.url } } });
  const { stdout } = await sandbox.keymend('acl', 'print', '--link', LINK);
  expect(stdout).not.toContain('SETUSER default');
  expect(stdout).toContain(`# WARNING: keymend, on the source of link ${LINK}, is the user default`);
  expect(stdout).toContain('ACL SETUSER keymend reset');
});
