/** What waits is shown, and how the two sides of a key differ now; then many keys at once. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WaitingReport } from '../../../src/cli/status/waiting.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { freePort } from '../../support/redis.js';

const folder = mkdtempSync(join(tmpdir(), 'keymend-keys-'));
let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await sandbox?.close();
});

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, code } = await sandbox.keymend(...args, '--output', 'json');
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

it('status shows what waits, status KEY how the sides differ, and reconcile --file mends it', async () => {
  const link = `link-${sandbox.prefix.slice(0, -1)}`;
  sandbox.configure({ link: { name: link, retry: { maximumAttempts: 1 } } });
  const { source, target, producer, topic, deadLetterTopic } = sandbox;
  const waiting = async () => (await json<{ waiting: WaitingReport }>('status')).waiting;
  await source.client.mset('a', '1', 'b', '22');
  await source.client.hset('h', 'f', 'a value of a user', 'g', '2');
  await target.client.hset('h', 'f', 'another value');
  await target.client.replicaof('127.0.0.1', 1);
  await producer.send({ topic, messages: ['a', 'b', 'h'].map((key) => recordOf(key, { link })) });
  // Kafka looks for the coordinator of a new group first, and may do so once more.
  const lag = { group: `bridge-${sandbox.prefix.slice(0, -1)}`, records: 3, problem: null };
  await eventually(async () => expect((await waiting()).lag).toEqual(lag));
  await eventually(async () =>
    expect((await sandbox.keymend('status')).stdout).toMatch(
      /^ {2}3 failed writes wait in Kafka for the group bridge-/m,
    ),
  );

  const running = await sandbox.start('start');
  // Where a server does not answer in time, the part that asks it is missing.
  await eventually(async () =>
    expect(await waiting()).toMatchObject({ escalated: { total: 3 }, deadLetters: { count: 3 }, lag: { records: 0 } }),
  );
  const { stdout } = await sandbox.keymend('status');
  expect(stdout).toContain(`  escalated, see \`keymend escalations\`:\n    3 TargetReadOnly of link ${link}\n`);
  expect(stdout).toContain(`  3 records of dead letters in topic ${deadLetterTopic}, open and resolved; `);

  expect(await json('status', 'a')).toMatchObject({
    state: 'escalated',
    nextStep: expect.stringMatching(/^The target refuses writes/),
    next: `npx keymend retry --link ${link} a`,
    now: {
      difference: 'missing',
      source: { type: 'string', size: 1, expiresAt: null },
      target: { type: 'none', size: null, expiresAt: null },
      problem: null,
    },
  });
  const ofHash = (await sandbox.keymend('status', 'h')).stdout;
  expect(ofHash).toMatch(/^now +differs in value$/m);
  expect(ofHash).toMatch(/^source +hash of 2 fields, does not expire$/m);
  expect(ofHash).toMatch(/^target +hash of 1 field, does not expire$/m);
  expect(ofHash).not.toContain('value of a user');
  expect(ofHash).toMatch(/^next step +The target refuses writes: .*failover to end\.$/m);
  expect(ofHash).toMatch(new RegExp(`^then +npx keymend retry --link ${link} h$`, 'm'));
  expect(ofHash).toMatch(new RegExp(`^or +npx keymend skip --reason WHY --link ${link} h$`, 'm'));
  expect(ofHash).toMatch(/^tried +TargetReadOnly .*\d{4}-/m);

  await target.client.replicaof('NO', 'ONE');
  // Somebody has copied it by hand.
  await target.client.set('b', '22');
  expect(await json('status', 'b')).toMatchObject({
    state: 'escalated',
    nextStep: expect.stringMatching(/^Both sides are equal now/),
  });
  await target.client.del('b');
  const file = join(folder, 'keys');
  writeFileSync(file, ['a', 'b', 'h', 'nobody-reported'].map((key) => Buffer.from(key).toString('base64')).join('\n'));
  await source.client.set('nobody-reported', '1');
  const reconciled = await json('reconcile', '--file', file, '--encoding', 'base64', '--yes', '--wait', '1m');
  expect(reconciled).toMatchObject({ told: 4, repaired: 4, healed: 4, failedAgain: 0, newlyEscalated: 0, underWay: 0 });
  expect(await target.client.hgetall('h')).toEqual({ f: 'a value of a user', g: '2' });
  expect(await json('status', 'h')).toMatchObject({ now: { difference: 'none', problem: null } });
  // Once more is harmless.
  expect(await json('reconcile', '--file', file, '--encoding', 'base64', '--yes')).toEqual({ told: 4, equal: 4 });
  expect(await json('retry', '--file', file, '--encoding', 'base64', '--yes')).toEqual({
    retried: 0,
    nothingUnderWay: 4,
  });

  // What fails at once is no success, also where nothing is waited for.
  await target.client.acl('SETUSER', 'default', '-restore');
  await source.client.set('b', '3');
  const denied = await sandbox.keymend(
    'reconcile',
    '--file',
    file,
    '--encoding',
    'base64',
    '--yes',
    '--output',
    'json',
  );
  expect(denied).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('1 of 4 keys failed (at once NoPermission: 1)'),
  });
  expect(JSON.parse(denied.stdout)).toEqual({ told: 4, equal: 3, failed: { NoPermission: 1 } });
  await target.client.acl('SETUSER', 'default', '+restore');
  expect(await running.stop()).toBe(0);
});

it('status KEY still shows the workflow when a side can’t be reached', async () => {
  const link = `link-${sandbox.prefix.slice(0, -1)}`;
  sandbox.configure({ link: { name: link } });
  const running = await sandbox.start('worker');
  await eventually(() => json('reconcile', 'a'));
  const port = await freePort();
  sandbox.configure({ link: { name: link, target: { url: `redis://127.0.0.1:${port}` } } });
  await eventually(async () =>
    expect(await json('status', 'a')).toMatchObject({
      state: 'done',
      now: { difference: null, source: { type: 'string' }, target: null, problem: expect.stringContaining(`${port}`) },
    }),
  );
  expect(await running.stop()).toBe(0);
});

it.each([
  [['retry', 'a', '--escalated'], /^keymend: say one of KEY and --escalated, not both$/],
  [['retry', 'a', '--yes'], /^keymend: --yes is for many keys/],
  [['retry', '--file', 'x', '--error', 'Contended'], /^keymend: --error, --prefix and --older-than narrow down/],
  [['retry', '--escalated', '--rate', 'fast'], /^keymend: --rate fast: give a number above 0/],
  [['retry', '--escalated', '--wait', 'long'], /^keymend: --wait long: give a time/],
  [['reconcile', '--escalated', '--allow-delete', '--yes'], /^keymend: --allow-delete vouches for one KEY/],
  [['reconcile', '--file', '/nowhere/keys', '--yes'], /^keymend: \/nowhere\/keys: cannot be read \(ENOENT\)/],
  [['escalations', '--older-than', 'long'], /^keymend: --older-than long: give a time/],
  [['escalations', '--error', 'contendet'], /^keymend: --error contendet: .*, did you mean "Contended"\?/],
])('%j is refused with one line', async (args, line) => {
  sandbox.configure({});
  const { code, stderr, stdout } = await sandbox.keymend(...args);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr.trimEnd()).toMatch(line);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
});
