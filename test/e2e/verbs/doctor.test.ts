/** `keymend doctor`: what is wrong, and what to do. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createSandbox, type Sandbox } from '../../support/keymend.js';
import { freePort } from '../../support/redis.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

interface Report {
  readonly ok: boolean;
  readonly checks: readonly { level: string; message: string; remedy: string | null }[];
}

async function doctor(): Promise<{ code: number; report: Report }> {
  const { code, stdout, stderr } = await sandbox.keymend('doctor', '--output', 'json');
  if (stdout === '') throw new Error(stderr);
  return { code, report: JSON.parse(stdout) as Report };
}

function failing({ checks }: Report): string[] {
  return checks.filter(({ level }) => level === 'fail').map(({ message }) => message);
}

it('what fails is named with what to do, and the others are looked at all the same', async () => {
  sandbox.configure({ kafka: { brokers: [`127.0.0.1:${await freePort()}`] } });
  const { source, target } = sandbox;
  await target.client.call('ACL', 'SETUSER', 'default', '-restore', '-hset');
  await source.client.config('SET', 'maxmemory', '1gb');
  await source.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
  try {
    const { code, report } = await doctor();
    expect([code, report.ok]).toEqual([1, false]);
    const { checks } = report;
    expect(checks).toContainEqual({
      level: 'fail',
      message: expect.stringMatching(
        /^target of link east-to-west .*: user default may not use RESTORE, HSET, needed to repair keys$/,
      ),
      remedy: 'ACL SETUSER default +restore +hset',
    });
    expect(checks).toContainEqual({
      level: 'warn',
      message: expect.stringMatching(/^source of link east-to-west .* evicts keys \(maxmemory-policy allkeys-lru\)/),
      remedy: expect.stringContaining('noeviction'),
    });
    expect(failing(report)).toContainEqual(expect.stringMatching(/^Kafka does not answer at /));
    expect(failing(report)).toContainEqual(expect.stringMatching(/^no worker asks for work/));
    expect(checks).toContainEqual(
      expect.objectContaining({ level: 'ok', message: expect.stringContaining('are two') }),
    );
  } finally {
    await target.client.call('ACL', 'SETUSER', 'default', '+@all');
    await source.client.config('SET', 'maxmemory', '0');
  }
});

it('a replica on a side, and one server on both, fail', async () => {
  sandbox.configure({});
  await sandbox.target.client.replicaof('127.0.0.1', String(await freePort()));
  const { report } = await doctor();
  expect(failing(report)).toContainEqual(expect.stringMatching(/^target of link east-to-west .*replica/));
  await sandbox.target.client.replicaof('NO', 'ONE');
  // By another name, which the configuration can't know of.
  sandbox.configure({ link: { target: { url: sandbox.source.url.replace('127.0.0.1', 'localhost') } } });
  expect(failing((await doctor()).report)).toContainEqual(expect.stringContaining('is the same Redis as'));
  sandbox.configure({ link: { target: { url: sandbox.source.url } } });
  const unreadable = await doctor();
  expect(unreadable).toMatchObject({ code: 1, report: { ok: false, checks: [{ level: 'fail' }] } });
});

it('nothing fails where all is well, and it says what was looked at', async () => {
  sandbox.configure({});
  const running = await sandbox.start('start');
  const { code, report } = await doctor();
  expect(failing(report)).toEqual([]);
  expect([code, report.ok]).toEqual([0, true]);
  const { stdout } = await sandbox.keymend('doctor');
  for (const line of [
    'the configuration can be read',
    /Temporal at \S+, namespace default answers \(server /,
    /namespace default keeps closed workflows for /,
    'has all search attributes, of type Keyword',
    /Kafka at \S+ has its topics/,
    /source of link east-to-west \(\S+\) answers and is a master/,
    /target of link east-to-west \(\S+\): user default may do what keymend needs/,
    /target of link east-to-west \(\S+\): memory policy noeviction/,
    'source and target of link east-to-west are two',
    /the target's clock is \d+ ms (behind|ahead of) the source's/,
    /1 worker asks for work on the task queue /,
    /workers are of version ([\d.]+), this command line of \1/,
    '1 bridge reads failed writes',
    'no failed writes are known to be lost',
  ]) {
    const pattern = typeof line === 'string' ? line.replace(/[.()]/g, '\\$&') : line.source;
    expect(stdout).toMatch(new RegExp(`^ok {4}.*${pattern}`, 'm'));
  }
  expect(await running.stop()).toBe(0);
});
