/** What the verbs tell, tried as a new user would. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startProxy } from '../../../src/stack/proxy.js';
import { eventually, until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { freePort } from '../../support/redis.js';
import { startEscalated, startStubWorker } from '../../support/stub-worker.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, code } = await sandbox.keymend(...args, '--output', 'json');
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

describe('a verb that asks', () => {
  it('says that nobody answers when the task queue was renamed, and that somebody does when it was not', async () => {
    const link = `link-${sandbox.prefix.slice(0, -1)}`;
    const escalating = { link: { name: link, retry: { maximumAttempts: 1 } } };
    sandbox.configure(escalating);
    const { source, target, producer, topic } = sandbox;
    const evil = 'a\u001b]0;owned\u0007\r\nno key is escalated\u202e';
    let running = await sandbox.start('start');
    await source.client.mset('a', '1', 'b', '1', evil, '1');
    await target.client.replicaof('127.0.0.1', 1);
    await producer.send({ topic, messages: ['a', 'b', evil].map((key) => recordOf(key, { link })) });
    await until(async () => (await json<object[]>('escalations', '-l', link)).length === 3);

    // A key says nothing to the terminal but itself.
    for (const verb of [
      ['escalations', '-l', link],
      ['status', evil],
      ['skip', evil, '--reason', 'a test'],
    ]) {
      const { stdout } = await sandbox.keymend(...verb);
      expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      expect(stdout).not.toMatch(/^no key is escalated/m);
    }
    const { code, stdout } = await sandbox.keymend('retry', 'a');
    expect([code, stdout]).toEqual([0, `${sandbox.prefix}a tries again\n`]);
    expect(await running.stop()).toBe(0);

    const path = sandbox.configure(escalating);
    writeFileSync(path, readFileSync(path, 'utf8').replace(/taskQueue: (.*)/, 'taskQueue: renamed-$1'));
    running = await sandbox.start('worker');
    const queue = `keymend-${sandbox.prefix.slice(0, -1)}`;
    const missing = `no worker answers on its task queue ${queue}, and those of this configuration listen on renamed-${queue}`;
    const verbs = [
      ['retry', 'a'],
      ['retry', '--escalated', '-l', link],
      ['skip', 'b', '--reason', 'a test'],
      ['status', 'a'],
      ['reconcile', 'a'],
    ];
    // At once: each waits for an answer as long as a person would.
    const finished = await Promise.all(verbs.map((verb) => sandbox.keymend(...verb)));
    for (const [index, each] of finished.entries()) {
      const verb = verbs[index]!.join(' ');
      expect(each, verb).toMatchObject({ code: 1, stderr: expect.stringContaining(missing) });
      expect(each.stderr.trim().split('\n'), verb).toHaveLength(1);
    }
    const listed = await sandbox.keymend('escalations', '-l', link);
    expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining(missing) });
    await target.client.replicaof('NO', 'ONE');
    expect(await running.stop()).toBe(0);
  });

  it('says that a link is unknown instead of that nothing is escalated', async () => {
    sandbox.configure({});
    for (const verb of [['escalations'], ['retry', '--escalated'], ['status'], ['status', 'a'], ['reconcile', 'a']]) {
      const { code, stdout, stderr } = await sandbox.keymend(...verb, '-l', 'nope');
      expect([code, stdout, stderr]).toEqual([
        2,
        '',
        'keymend: no link "nope" in the configuration; it has east-to-west\n',
      ]);
    }
  });

  it('names what it asked, and why it failed', async () => {
    const path = sandbox.configure({});
    const text = readFileSync(path, 'utf8');
    const port = await freePort();
    writeFileSync(path, text.replace(/address: .*/, `address: 127.0.0.1:${port}`));
    for (const verb of [['retry', 'a'], ['worker']]) {
      expect((await sandbox.keymend(...verb)).stderr).toMatch(
        new RegExp(
          `^keymend: Temporal at 127.0.0.1:${port}, namespace default: .*(refused|UNAVAILABLE|deadline).*; is it running`,
        ),
      );
    }
    // The two sides can be compared all the same.
    expect(await sandbox.keymend('status', 'a', '-o', 'json')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/"state":null,"now":\{"difference":"/),
      stderr: expect.stringContaining(`Temporal at 127.0.0.1:${port}`),
    });
    writeFileSync(path, text.replace(/address: .*/, '$&\n  namespace: nowhere'));
    const asJson = await sandbox.keymend('retry', 'a', '-o', 'json');
    expect(JSON.parse(asJson.stderr)).toEqual({
      error: { message: expect.stringMatching(/namespace nowhere/) },
    });
    expect((await sandbox.keymend('retry', 'a')).stderr).toMatch(
      /namespace nowhere: .*NOT_FOUND: Namespace nowhere is not found/i,
    );
  });
});

it('says of a key that is done, or was never known, that nothing is under way, and what looks at it', async () => {
  sandbox.configure({});
  const running = await sandbox.start('worker');
  await json('reconcile', 'finished');
  expect(await running.stop()).toBe(0);
  for (const verb of [['retry'], ['skip', '--reason', 'a test']]) {
    const told = async (key: string) => (await sandbox.keymend(...verb, key)).stderr;
    const nothing = (key: string) => `keymend: nothing is under way for key ${key} of link east-to-west`;
    expect(await told('finished')).toMatch(
      new RegExp(
        `^${nothing('finished')}: its workflow ended at \\S+Z; \`keymend reconcile KEY\` looks at it again\n$`,
      ),
    );
    expect(await told('unheard')).toBe(
      `${nothing('unheard')}; \`keymend reconcile KEY\` looks at a key that no failed write named\n`,
    );
  }
});

it('a list of escalated keys does not wait for each of them when their worker is gone', async () => {
  const link = `silent-${sandbox.prefix.slice(0, -1)}`;
  const taskQueue = `keymend-${sandbox.prefix.slice(0, -1)}`;
  const path = sandbox.configure({ link: { name: link } });
  const workflowIds = Array.from({ length: 60 }, (_, index) => `${sandbox.prefix}silent:${index}`);
  const asked = (workflowId: string) => ({ workflowId, error: 'Contended' });
  // Of another queue, with a worker, and the last of the list.
  const answered = `${sandbox.prefix}answered`;
  const worker = startStubWorker(sandbox.client, taskQueue, () => false);
  onTestFinished(() => worker.stop());
  await startEscalated(sandbox.client, { link, taskQueue }, [asked(answered)]);
  await until(() => worker.begun() === 1);
  const silent = `${taskQueue}-of-old`;
  await startEscalated(sandbox.client, { link, taskQueue: silent }, workflowIds.map(asked));
  const count = async () => (await sandbox.client.workflow.count(`KeymendLink = "${link}"`)).count;
  await eventually(async () => expect(await count()).toBe(61));
  const listed = await json<{ workflowId: string; unanswered?: string }[]>('escalations', '-l', link, '--config', path);
  expect(listed.at(-1)).toMatchObject({ workflowId: answered, attempts: expect.any(Number) });
  expect(listed.map(({ workflowId }) => workflowId).sort()).toEqual([answered, ...workflowIds].sort());
  expect(listed[0]).toEqual({
    ...{ workflowId: expect.any(String), link, error: 'Contended', since: expect.stringMatching(/^\d{4}-.*Z$/) },
    unanswered: expect.stringMatching(/^no worker answers on its task queue /),
  });
  const unasked = listed.filter(({ unanswered = '' }) => unanswered.startsWith('not asked: no worker answers'));
  expect(unasked.length).toBeGreaterThanOrEqual(60 - 16 - 5);
  const ended = [answered, ...workflowIds].map((workflowId) =>
    sandbox.client.workflow.getHandle(workflowId).terminate(),
  );
  await Promise.all(ended);
});

it('says how to start a worker when none runs', async () => {
  sandbox.configure({});
  const queue = `keymend-${sandbox.prefix.slice(0, -1)}`;
  const { code, stderr } = await sandbox.keymend('reconcile', 'unattended', '--allow-delete');
  expect([code, stderr]).toEqual([
    1,
    `keymend: workflow ${sandbox.prefix}unattended was told, but no worker answers on its task queue ${queue}; start one with ` +
      '`keymend worker` or `keymend start`. The key is reconciled then, but a delete is not vouched for any more\n',
  ]);
});

it('reconcile says that a key is on neither side', async () => {
  sandbox.configure({});
  const running = await sandbox.start('worker');
  const { code, stdout } = await sandbox.keymend('reconcile', 'nosuchkey');
  expect([code, stdout]).toEqual([0, 'equal after 1 attempt: the key is on neither side\n']);
  expect(await json('reconcile', 'nosuchkey')).toMatchObject({ outcome: 'equal', onNeitherSide: true });
  await sandbox.source.client.set('there', '1');
  await sandbox.target.client.set('there', '1');
  expect(await json('reconcile', 'there')).not.toHaveProperty('onNeitherSide');
  expect(await running.stop()).toBe(0);
});

it('reconcile of a key that somebody gives up on meanwhile is no success', async () => {
  sandbox.configure({});
  const running = await sandbox.start('worker');
  const { source, target, client, prefix } = sandbox;
  await source.client.set('given-up', '1');
  await target.client.replicaof('127.0.0.1', 1);
  const reconciling = sandbox.keymend('reconcile', 'given-up');
  await eventually(async () => {
    const handle = client.workflow.getHandle(`${prefix}given-up`);
    expect(await handle.query<{ state: string }>('status')).toMatchObject({ state: 'retrying' });
  });
  expect(await sandbox.keymend('skip', 'given-up', '--reason', 'a test')).toMatchObject({ code: 0 });
  const { code, stdout, stderr } = await reconciling;
  expect([code, stdout]).toEqual([1, expect.stringMatching(/^skipped after \d+ attempts?\n$/)]);
  expect(stderr).toMatch(
    /keymend: somebody has given up on the key meanwhile: nothing says that both sides are equal\n$/,
  );
  await target.client.replicaof('NO', 'ONE');
  expect(await running.stop()).toBe(0);
});

it('reconcile says while it waits what goes on, and the worker logs what it repaired', async () => {
  sandbox.configure({ link: { retry: { maximumAttempts: 6 } } });
  const running = await sandbox.start('worker');
  const { source, target, prefix } = sandbox;
  await source.client.set('late', 'a value of a user');
  await target.client.replicaof('127.0.0.1', 1);
  const { code, stderr } = await sandbox.keymend('reconcile', 'late');
  const lines = stderr.trimEnd().split('\n');
  expect([code, lines.pop()]).toEqual([
    1,
    expect.stringMatching(/^keymend: TargetReadOnly: .*; see `keymend status KEY` for/),
  ]);
  expect(lines.length).toBeGreaterThan(0);
  for (const line of lines) {
    expect(line).toMatch(/^retrying, \d+ attempts? so far(, next try at \S+)?: TargetReadOnly: /);
  }
  const failed = await sandbox.keymend('reconcile', 'late', '--output', 'json');
  const error = JSON.parse(failed.stderr.trimEnd().split('\n').at(-1)!) as unknown;
  expect(error).toEqual({ error: { type: 'TargetReadOnly', message: expect.stringContaining('TargetReadOnly') } });
  expect(failed.stdout).toBe('');

  await target.client.replicaof('NO', 'ONE');
  expect(await sandbox.keymend('reconcile', 'late')).toMatchObject({ code: 0 });
  const repairs = running
    .log()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === 'repaired');
  const what = { level: 'info', link: 'east-to-west', workflowId: `${prefix}late`, action: 'restored', type: 'string' };
  expect(repairs).toEqual([expect.objectContaining(what)]);
  expect(running.log()).not.toContain('a value of a user');
  expect(await running.stop()).toBe(0);
});

it.each([
  [['stauts'], "keymend: unknown command 'stauts'; Did you mean status?; see `keymend --help`"],
  [['status', '--nope'], "keymend: unknown option '--nope'; see `keymend status --help`"],
  [['reconcile'], "keymend: missing required argument 'key'; see `keymend reconcile --help`"],
  [['skip', 'key'], "keymend: required option '-r, --reason <text>' not specified; see `keymend skip --help`"],
  [['skip', 'key', '--reason', ' '], 'keymend: --reason is empty; say why, for whoever asks later'],
  ...['status', 'reconcile', 'retry'].map((verb): [string[], RegExp] => [
    [verb, ''],
    /^keymend: KEY is empty, most likely a shell variable that is not set/,
  ]),
  [['config', 'chek'], /^keymend: unknown command 'chek'.*; see `keymend config --help`$/],
  [['status', '--a\u001b[2J'], "keymend: unknown option '--a\\u001b[2J'; see `keymend status --help`"],
  [
    ['status', '-o', 'xml'],
    /^keymend: option '-o, --output <format>' argument 'xml' is invalid.*; see `keymend --help`$/,
  ],
])('%j is refused with one line, which points to the help where that helps', async (args, line) => {
  const { code, stderr } = await sandbox.keymend(...args);
  expect(code).toBe(2);
  expect(stderr.trimEnd().split('\n')).toEqual([typeof line === 'string' ? line : expect.stringMatching(line)]);
});

it.each([
  ['temporal: {taskqueue: a}', 'unknown key "temporal.taskqueue", did you mean "temporal.taskQueue"?'],
  ['linsk: []', 'unknown key "linsk", did you mean "links"?'],
  [
    'links: [{name: a, source: {url: redis://a}, target: {url: redis://b}, retry: {maxAttempts: 3}}]',
    'unknown key "links[0].retry.maxAttempts"',
  ],
  [
    'links: [{name: a, source: {url: redis://a}, target: {url: redis://b}, setle: 1s}]',
    'unknown key "links[0].setle", did you mean "links[].settle"?',
  ],
  [
    'links: [{name: a, source: {url: redis://a}, target: {url: redis://b}}]\nretryEvery: 1s',
    'unknown key "retryEvery", did you mean "links[].escalation.retryEvery"?',
  ],
  ['colour: red', 'unknown key "colour"'],
])('%j is told what was meant', async (text, told) => {
  writeFileSync(sandbox.configure({}), `kafka: {brokers: [a:1]}\n${text}`);
  const { stderr } = await sandbox.keymend('config', 'check');
  expect(stderr).toContain(told);
  if (!told.includes('did you mean')) expect(stderr).not.toContain('did you mean');
});

it('config check says that source and target are different servers', async () => {
  sandbox.configure({});
  const { stdout } = await sandbox.keymend('config', 'check');
  expect(stdout).toContain('ok      source and target of link east-to-west are different servers');
});

it('start says nothing of the library, and one line while Temporal is away', async () => {
  const path = sandbox.configure({});
  const text = readFileSync(path, 'utf8');
  const [, address] = /address: (.*)/.exec(text)!;
  const [host, port] = address!.split(':');
  const relay = await startProxy({ target: { host: host!, port: Number(port) } });
  writeFileSync(path, text.replace(/address: .*/, `address: 127.0.0.1:${relay.port}`));
  const running = await sandbox.start('start');
  relay.cut();
  await running.logged('does not answer the worker');
  const said = () =>
    running
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: string; msg: string; sdkComponent?: string });
  relay.restore();
  await running.logged('over (');
  // What is of the library says which part of it speaks.
  const lines = said().filter(({ msg, sdkComponent }) => sdkComponent !== undefined || /Temporal/.test(msg));
  expect(lines.map(({ level, msg }) => `${level}: ${msg}`)).toEqual([
    expect.stringMatching(/^warn: Temporal at .* does not answer the worker/),
    expect.stringMatching(/^info: over \(for \d+ s\): Temporal at .* does not answer the worker$/),
  ]);
  expect(await running.stop()).toBe(0);
  await relay.close();
});
