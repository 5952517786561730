/** `keymend sweep` as a person runs it, against real services. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { WholeReport } from '../../../src/cli/verbs/status.js';
import type { SweepReport } from '../../../src/sweep/report.js';
import { gapWorkflowId, lost, status } from '../../../workflows/gap-messages.js';
import { pause, progress, rate, resume, type SweepState, sweepWorkflowId } from '../../../workflows/sweep-messages.js';
import { eventually } from '../../support/eventually.js';
import {
  createSandbox,
  ENVIRONMENT,
  type Finished,
  type Running,
  runKeymend,
  type Sandbox,
} from '../../support/keymend.js';

import { startVerb } from './verb.js';

/** Of temporal.api.enums.v1.PendingActivityState. */
const PENDING_ACTIVITY_STATE_STARTED = 2;

let sandbox: Sandbox;
let worker: Running;
let folder: string;
let config: string;
let withoutWorker: Promise<Finished>;
const link = `sweep-${randomUUID().slice(0, 8)}`;
const nobody = `${link}-without-worker`;
beforeAll(async () => {
  sandbox = await createSandbox();
  folder = mkdtempSync(join(tmpdir(), 'keymend-sweep-'));
  config = sandbox.configure({ link: { name: link, settle: '50ms' } });
  worker = await sandbox.start('worker');
  // As long as all of the other tests take.
  const another = join(folder, 'another.yaml');
  writeFileSync(
    another,
    readFileSync(config, 'utf8')
      .replaceAll(link, nobody)
      .replace(/taskQueue: .*/, `taskQueue: ${nobody}`),
  );
  withoutWorker = runKeymend(['sweep', '--config', another]);
});
afterAll(async () => {
  await sandbox?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  const pairs = Array.from({ length: 2_000 }, (_, index) => [`user:${index}`, 'secret value']).flat();
  await Promise.all([sandbox.source.client.mset(...pairs), sandbox.target.client.mset(...pairs)]);
});
afterEach(async () => {
  await Promise.all([sandbox.source.client.flushall(), sandbox.target.client.flushall()]);
});

it('joins none that looks for something else: its answer would be one to another question', async () => {
  const { client } = sandbox;
  const running = startVerb(folder, ['sweep', '--match', 'user:*', '--rate', '1', '--config', config], ENVIRONMENT);
  const handle = client.workflow.getHandle(sweepWorkflowId(link));
  await eventually(async () => expect((await handle.describe()).status.name).toBe('RUNNING'));
  for (const options of [[], ['--match', 'user:*', '--repair'], ['--sample', '1%']]) {
    const { code, stderr } = await sandbox.keymend('sweep', ...options);
    expect(code).toBe(1);
    expect(stderr).toContain(`a sweep of link ${link} with other options has run since `);
  }
  await handle.cancel();
  await running.ended;
});

it('says that both sides are equal, and ends with 0', async () => {
  const { code, stdout, stderr } = await sandbox.keymend('sweep');
  expect(stdout).toBe(`link ${link}: equal, 2000 keys compared, 0 differ\n`);
  expect(code).toBe(0);
  // In a pipe there is a line at its end, and one every ten seconds where it takes as long.
  const last = stderr.trimEnd().split('\n').at(-1);
  expect(last).toBe('[####################], 100.0 %, 2000 keys compared, 0 differ');
});

it('ends with 3 where keys differ, names them, and writes reports that have no value', async () => {
  const key = Buffer.from([0xff, 0x1b]);
  await sandbox.source.client.set('title\u001b]0;owned\u0007', 'secret value');
  await sandbox.source.client.set(key, 'secret value');
  await sandbox.target.client.del('user:7');
  const json = join(folder, 'report.json');
  const { code, stdout } = await sandbox.keymend('sweep', '--link', link, '--report', json);
  expect(code).toBe(3);
  expect(stdout).toContain('2003 keys compared, 3 differ (missing 3)'.replace('2003', '2002'));
  expect(stdout).toContain('missing user:7\n');
  expect(stdout).toContain('title\\u001b]0;owned\\u0007');
  expect(stdout).toContain(`${key.toString('base64')} (base64)`);
  const report = JSON.parse(readFileSync(json, 'utf8')) as SweepReport;
  expect(report).toMatchObject({ format: 'keymend-sweep', version: 1, link, outcome: 'divergent' });
  expect(report.listed).toHaveLength(3);

  // Its differences alone, of which one is mended.
  await sandbox.target.client.set('user:7', 'secret value');
  const html = join(folder, 'report.html');
  const rerun = await sandbox.keymend('sweep', 'rerun', json, '--report', html, '--output', 'json');
  expect(rerun.code).toBe(3);
  expect(JSON.parse(rerun.stdout)).toMatchObject({ compared: 3, differing: { missing: 2 } });
  const page = readFileSync(html, 'utf8');
  expect(page).toContain('<svg');
  expect(page).not.toMatch(/<script|src=|href=|\u001b/);
  for (const text of [page, readFileSync(json, 'utf8'), stdout]) expect(text).not.toContain('secret');

  const repaired = await sandbox.keymend('sweep', 'rerun', json, '--repair', '--output', 'json');
  expect(repaired.code).toBe(0);
  const mended = JSON.parse(repaired.stdout) as SweepReport;
  expect(mended).toMatchObject({ outcome: 'equal', handedOver: 2, repaired: 2, unhealed: 0 });
  // By a batch, as in a surge; the sweep tells when each was found, and healed.
  const { runId } = await sandbox.client.workflow.getHandle(sweepWorkflowId(link)).describe();
  const batch = sandbox.client.workflow.getHandle(`keymend/batch/${link}/sweep-${runId}/0/0`);
  expect(await batch.result()).toMatchObject({ state: 'done', keys: 2, repaired: 2 });
  for (const { batch, foundAt, healedAt } of mended.listed) {
    expect(batch).toBe(0);
    expect(Date.parse(healedAt!)).toBeGreaterThanOrEqual(Date.parse(foundAt!));
  }
  expect((await sandbox.keymend('sweep', '--output', 'json')).code).toBe(0);
});

it('refuses what is no report of its version in one line, and what can not be meant', async () => {
  const path = join(folder, 'other.json');
  const refused = async (...args: string[]) => {
    const { code, stderr } = await sandbox.keymend('sweep', ...args);
    expect(code).toBe(2);
    return stderr;
  };
  writeFileSync(path, JSON.stringify({ format: 'keymend-sweep', version: 2 }));
  expect(await refused('rerun', path)).toBe(
    `keymend: ${path} is a report of version 2, and this keymend reads version 1; sweep again with this one\n`,
  );
  writeFileSync(path, '{}');
  expect(await refused('rerun', path)).toMatch(/is no report of a sweep/);
  expect(await refused('rerun', join(folder, 'missing.json'))).toMatch(/cannot be read \(ENOENT\)/);
  expect(await refused('--rate', 'fast')).toMatch(/--rate fast: give a number above 0/);
  expect(await refused('--sample', '101%')).toMatch(/--sample 101%/);
  expect(await refused('--match', '')).toMatch(/--match is empty/);
  expect(await refused('--report', 'report.pdf')).toMatch(/ends in \.json or \.html/);
  expect(await refused('--link', 'other')).toMatch(/no link "other"/);
});

it('says so where a pattern matches no key, and does not end as if something were equal', async () => {
  const { code, stdout } = await sandbox.keymend('sweep', '--match', 'users:*');
  expect(stdout).toContain('nothing was compared: no key of either side matches the pattern; check --match');
  expect(code).toBe(4);
});

it('a report that can not be written is refused before the work, not behind it', async () => {
  const isFolder = join(folder, 'folder.json');
  mkdirSync(isFolder);
  for (const path of [join(folder, 'missing', 'report.json'), isFolder]) {
    const { code, stdout, stderr } = await sandbox.keymend('sweep', '--report', path);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/cannot be written \((ENOENT|EISDIR)\); name a file in a folder that is there/);
  }
});

it('ends with 4 where a key could not be compared', async () => {
  // Far too many groups for any command to tell of.
  for (const { client } of [sandbox.source, sandbox.target]) {
    await client.xadd('stream', '1-1', 'field', 'value');
    const pipeline = client.pipeline();
    for (let group = 0; group < 5_100; group++) pipeline.xgroup('CREATE', 'stream', `group ${group}`, '0');
    await pipeline.exec();
  }
  const path = join(folder, 'incomplete.json');
  const { code, stdout } = await sandbox.keymend('sweep', '--match', 'stream', '--report', path);
  expect(stdout).toMatch(/1 key could not be compared, or not repaired:\n {2}Unsupported: /);
  expect(code).toBe(4);
  const rerun = await sandbox.keymend('sweep', 'rerun', path);
  expect(rerun.stderr).toContain('1 key could not be compared then, and the report does not name them: sweep again');
  expect(rerun.code).toBe(4);
});

it('that one has failed, and why, is what `status` says of the last one', async () => {
  const rights = (...rules: string[]) => sandbox.source.client.call('ACL', 'SETUSER', 'default', ...rules);
  await rights('-scan');
  try {
    expect(await sandbox.keymend('sweep')).toMatchObject({ code: 1 });
  } finally {
    await rights('+@all');
  }
  const { stdout } = await sandbox.keymend('status');
  expect(stdout).toMatch(
    new RegExp(`last sweep of link ${link}: failed at \\S+, before its end: NoPermission: .*SCAN`),
  );
});

it('a key that its batch can not heal goes on by itself: the sweep waits a little, or ends as divergent', async () => {
  const { source, target, client, prefix } = sandbox;
  await source.client.set('large', 'x'.repeat(2_000_000));
  const healed = await sandbox.keymend('sweep', '--match', 'large', '--repair');
  expect(healed.stdout).toContain('repaired: 1 of 1 that were handed over');
  expect(healed.code).toBe(0);
  await target.client.del('large');
  // No room for it.
  await target.client.config('SET', 'maxmemory', '1mb');
  try {
    const { code, stdout } = await sandbox.keymend('sweep', '--match', 'large', '--repair');
    expect(stdout).toContain('repaired: 0 of 1 that were handed over to reconcileBatch');
    expect(stdout).toContain('1 key did not heal there and went on as workflows of their own');
    expect(code).toBe(3);
  } finally {
    await target.client.config('SET', 'maxmemory', '0');
  }
  const own = client.workflow.getHandle(`${prefix}large`);
  await eventually(async () => expect((await own.describe()).status.name).toBe('COMPLETED'));
  expect(await target.client.strlen('large')).toBe(2_000_000);
});

it('a second one joins the first, which can be paused and goes on', async () => {
  const { client } = sandbox;
  const first = sandbox.keymend('sweep', '--rate', '100', '--output', 'json');
  const handle = client.workflow.getHandle(sweepWorkflowId(link));
  await eventually(async () => expect((await handle.describe()).status.name).toBe('RUNNING'));
  await handle.signal(pause);
  const second = startVerb(folder, ['sweep', '--rate', '200', '--output', 'json', '--config', config], ENVIRONMENT);
  await second.says(`joined the sweep of link ${link}`);
  await second.says('it goes at 200 keys a second from now on');
  await eventually(async () =>
    expect(await handle.query(progress)).toMatchObject({ state: 'paused', options: { rate: 200 } }),
  );
  // Whoever asks how keymend is hears of it, also without having begun it.
  await eventually(async () => {
    const { stdout } = await sandbox.keymend('status', '--output', 'json');
    const { sweeps } = JSON.parse(stdout) as WholeReport;
    expect(sweeps).toMatchObject({ problem: null, sweeps: [{ link, state: 'paused', workflowId: handle.workflowId }] });
    expect(sweeps.sweeps[0]!.percent).toBeLessThan(100);
  });
  expect((await sandbox.keymend('status')).stdout).toMatch(
    new RegExp(`sweep of link ${link}: paused, [0-9.]+ %, \\d+ keys compared, 0 differ`),
  );
  await handle.signal(rate, { keysPerSecond: 1_000_000 });
  await handle.signal(resume);
  const { code, stdout } = await first;
  const joined = await second.ended;
  expect({ ...joined, stderr: '' }, joined.stderr).toMatchObject({ code, stdout });
  expect(JSON.parse(stdout)).toMatchObject({ outcome: 'equal', compared: 2_000, options: { rate: 1_000_000 } });
});

it('a worker that is killed in the middle is followed by another, which goes on', async () => {
  const { client, source } = sandbox;
  const sweep = sandbox.keymend('sweep', '--rate', '50', '--output', 'json');
  const handle = client.workflow.getHandle(sweepWorkflowId(link));
  // As far as Temporal knows.
  await eventually(async () => {
    const [activity] = (await handle.describe()).raw.pendingActivities!;
    const [details] = activity!.heartbeatDetails!.payloads!;
    const { parts } = JSON.parse(`${Buffer.from(details!.data!)}`) as SweepState;
    expect(parts[0]!.compared).toBeGreaterThan(300);
  });
  await worker.stop('SIGKILL');
  await source.client.config('RESETSTAT');
  worker = await sandbox.start('worker');
  await eventually(async () => {
    const [activity] = (await handle.describe()).raw.pendingActivities!;
    expect(activity).toMatchObject({ attempt: 2, state: PENDING_ACTIVITY_STATE_STARTED });
  });
  await handle.signal(rate, { keysPerSecond: 1_000_000 });
  const { code, stdout } = await sweep;
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ compared: 2_000, redone: 0 });
  // It has not begun from the beginning: of 2,000 keys 300 and more were not asked for again.
  const calls = /cmdstat_pexpiretime:calls=(\d+)/.exec(await source.client.info('commandstats'));
  expect(Number(calls![1])).toBeLessThan(1_900);
});

it('a clean one closes what was known to be lost before it, and nothing that was lost since', async () => {
  const { client, prefix } = sandbox;
  const workflowId = gapWorkflowId(link);
  const gap = client.workflow.getHandle(workflowId);
  const lose = (id: string) =>
    client.workflow.signalWithStart('gap', {
      workflowId,
      taskQueue: `keymend-${prefix.slice(0, -1)}`,
      args: [{ link }],
      signal: lost,
      signalArgs: [[{ id, cause: 'removed', records: 1, message: 'lost', noticedAt: new Date().toISOString() }]],
    });
  await lose('before');
  expect((await sandbox.keymend('sweep', '--match', 'user:*')).code).toBe(0);
  expect(await gap.query(status)).toMatchObject({ state: 'open' });
  expect((await sandbox.keymend('sweep')).code).toBe(0);
  expect(await gap.result()).toMatchObject({
    state: 'acknowledged',
    reason: expect.stringMatching(/^a sweep that began/),
  });

  await lose('before as well');
  const sweep = sandbox.keymend('sweep', '--rate', '100');
  const handle = client.workflow.getHandle(sweepWorkflowId(link));
  await eventually(async () => expect((await handle.query(progress)).state).toBe('comparing'));
  await lose('meanwhile');
  await handle.signal(rate, { keysPerSecond: 1_000_000 });
  expect((await sweep).code).toBe(0);
  expect(await gap.query(status)).toMatchObject({ state: 'open', records: 2 });
  await gap.terminate();
});

it('says so where no worker answers, and begins when one does', async () => {
  const { code, stderr } = await withoutWorker;
  const handle = sandbox.client.workflow.getHandle(sweepWorkflowId(nobody));
  expect(stderr.trim().split('\n').at(-1)).toBe(
    `keymend: ${handle.workflowId} was started, but no worker answers on its task queue ${nobody}; ` +
      'start one with `keymend worker` or `keymend start`; it begins then',
  );
  expect(code).toBe(1);
  await handle.terminate();
});
