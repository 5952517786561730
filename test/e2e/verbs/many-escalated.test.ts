/** An incident of very many escalated keys with two causes, worked on with the terminal alone. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { generatedCases } from '../../support/cases.js';
import { until } from '../../support/eventually.js';
import { createSandbox, type Sandbox } from '../../support/keymend.js';
import { type StubKey, type StubWorker, startEscalated, startStubWorker } from '../../support/stub-worker.js';

/** 100,000 in a full run; else a few more of one cause than the 1,000 that are listed at once. */
const KEYS = Math.min(100_000, 50 * generatedCases(26));
const STEP = 1_000;
const NEW = 3;
/** Fewer than others of their error, and older. */
const AUDITED = 20;
const LONG_MS = 60 * 60_000;

let sandbox: Sandbox;
let link: string;
let taskQueue: string;
let worker: StubWorker;
let onTold: (told: number) => Promise<void> | void = () => {};
beforeAll(async () => {
  sandbox = await createSandbox();
  // Other tests have escalated keys on the same Temporal.
  link = `link-${sandbox.prefix.slice(0, -1)}`;
  taskQueue = `keymend-${sandbox.prefix.slice(0, -1)}`;
  sandbox.configure({ link: { name: link } });
  worker = startStubWorker(
    sandbox.client,
    taskQueue,
    (workflowId) => workflowId.includes('user:'),
    (told) => onTold(told),
  );
  await startEscalated(
    sandbox.client,
    { link, taskQueue },
    Array.from({ length: KEYS }, (_, index) => keyAt(index)),
  );
  // Step by step: all of them may take longer than anything is waited for.
  for (let begun = 0; begun < KEYS; begun += STEP) await until(() => worker.begun() >= Math.min(begun + STEP, KEYS));
  await until(async () => (await sandbox.client.workflow.count(`KeymendLink = "${link}"`)).count === KEYS);
}, LONG_MS);
afterAll(async () => {
  await worker?.stop();
  await sandbox?.close();
});

/** One of five may not be written, and that is not mended. */
function keyAt(index: number): StubKey {
  const denied = index % 5 === 0;
  const key = `${!denied ? 'user' : index < 5 * AUDITED ? 'audit' : 'session'}:${index}`;
  return { workflowId: sandbox.prefix + key, error: denied ? 'NoPermission' : 'TargetReadOnly' };
}

const DENIED = KEYS / 5;

async function json<T = unknown>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await sandbox.keymend(...args, '--link', link, '--output', 'json');
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

it(
  'groups say how many have which error, what their keys begin with and what to call next',
  async () => {
    const { code, stdout } = await sandbox.keymend('escalations', '--groups', '--link', link);
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    expect(lines[0]).toBe(`${KEYS} keys escalated`);
    expect(lines[1]).toBe(`  ${KEYS - DENIED}  TargetReadOnly  (link ${link})`);
    expect(lines[2]).toBe(`      keys begin with: user: ${KEYS - DENIED}`);
    expect(lines[4]).toBe(`      then: npx keymend retry --escalated --link ${link} --error TargetReadOnly`);
    expect(lines[5]).toBe(`  ${DENIED}  NoPermission  (link ${link})`);
    expect(lines[6]).toBe(`      keys begin with: session: ${DENIED - AUDITED}, audit: ${AUDITED}`);
    const retry = `npx keymend retry --escalated --link ${link} --error NoPermission`;
    expect(lines.slice(8)).toEqual([
      `      then: ${retry}`,
      `      or only: ${retry} --prefix session:`,
      `      or only: ${retry} --prefix audit:`,
      '',
    ]);
    const sessions = { prefix: 'session:', keys: DENIED - AUDITED };
    expect(await json('escalations', '--groups', '--prefix', 'ses')).toMatchObject({
      total: DENIED - AUDITED,
      others: 0,
      groups: [{ error: 'NoPermission', keys: DENIED - AUDITED, prefixes: [sessions], otherKeys: 0 }],
    });
  },
  LONG_MS,
);

it(
  'nobody is told anything by a dry run, nor in a pipe without --yes',
  async () => {
    const { stdout } = await sandbox.keymend(
      'retry',
      '--escalated',
      '--dry-run',
      '--error',
      'NoPermission',
      '-l',
      link,
    );
    expect(stdout).toMatch(new RegExp(`^${DENIED} keys would be told to try again; nothing was told to anybody\n`));
    const query = ['retry', '--dry-run', '--query', 'KeymendError = "NoPermission"'];
    expect((await sandbox.keymend(...query, '--link', link)).stdout).toContain(`${DENIED} keys would be told`);
    expect(await sandbox.keymend(...query, '--link', 'nobody')).toMatchObject({ code: 2 });
    const skipped = await sandbox.keymend('skip', '--escalated', '--link', link, '--reason', 'a test');
    expect(skipped).toMatchObject({ code: 2, stderr: expect.stringContaining('give --yes, or --dry-run') });
    expect((await json<{ total: number }>('escalations', '--groups')).total).toBe(KEYS);
  },
  LONG_MS,
);

it(
  'retry says what healed, failed again and escalated meanwhile, and goes on when it is called again',
  async () => {
    onTold = async (told) => {
      if (told !== 1) return;
      const keys = Array.from({ length: NEW }, (_, index) => keyAt(KEYS + 1 + index));
      await startEscalated(sandbox.client, { link, taskQueue }, keys);
    };
    const first = await json('retry', '--escalated', '--prefix', 'user:', '--wait', '1h');
    expect(first).toEqual({
      retried: KEYS - DENIED,
      healed: KEYS - DENIED,
      failedAgain: 0,
      newlyEscalated: NEW,
      underWay: 0,
      ended: 0,
    });
    const left = DENIED + NEW;
    const { code, stdout, stderr } = await sandbox.keymend('retry', '--escalated', '--wait', '1h', '--link', link);
    expect([code, stderr]).toEqual([3, expect.stringContaining(`${DENIED} of ${left} keys failed`)]);
    expect(stdout).toBe(
      `told ${left} escalated keys to try again\n${NEW} healed, ${DENIED} failed again, 0 newly escalated meanwhile\n` +
        '`keymend escalations` says why\n',
    );
    // Each was told once by each call that meant it.
    expect(worker.told.length).toBe(KEYS - DENIED + left);
    const skipped = await json('skip', '--escalated', '--reason', 'a test', '--yes');
    expect(skipped).toEqual({ skipped: DENIED });
  },
  LONG_MS,
);
