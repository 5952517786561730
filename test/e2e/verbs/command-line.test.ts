import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../support/eventually.js';
import { createSandbox, type Finished, recordOf, runKeymend, type Sandbox } from '../../support/keymend.js';
import { freePort, startRedis } from '../../support/redis.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

/** One line that says what and where, and no stack trace. */
function expectOneLine({ code, stderr }: Finished, ...parts: (string | RegExp)[]): void {
  const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  expect(lines).toHaveLength(1);
  for (const part of parts) expect(lines[0]).toMatch(part);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect(code).toBe(1);
}

async function deadPort(): Promise<number> {
  return freePort();
}

describe.each(['worker', 'bridge', 'start'])('keymend %s refuses to start with one line', (verb) => {
  it('when the configuration has an unknown key', async () => {
    sandbox.configure({ link: { colour: 'red' } });
    expectOneLine(await sandbox.keymend(verb), /keymend\.yaml/, /unknown key "links\[0\]\.colour"/);
  });

  it('when Temporal does not answer', async () => {
    const path = sandbox.configure({});
    const port = await deadPort();
    writeFileSync(path, readFileSync(path, 'utf8').replace(/address: .*/, `address: 127.0.0.1:${port}`));
    expectOneLine(await sandbox.keymend(verb), `Temporal at 127.0.0.1:${port}`);
  });

  it('when Kafka does not answer', async () => {
    const port = await deadPort();
    sandbox.configure({ kafka: { brokers: [`127.0.0.1:${port}`] } });
    expectOneLine(await sandbox.keymend(verb), 'Kafka', `127.0.0.1:${port}`);
  });

  it('when a topic is missing', async () => {
    sandbox.configure({ kafka: { topic: 'no-such-topic' } });
    expectOneLine(await sandbox.keymend(verb), 'no-such-topic');
  });
});

describe('keymend worker refuses to start with one line', () => {
  it('when a host of its only link is not known', async () => {
    sandbox.configure({ link: { target: { url: 'redis://no-such-host.invalid:6379' } } });
    expectOneLine(await sandbox.keymend('worker'), 'target of link east-to-west', 'no-such-host.invalid');
  });

  it('when the password of a Redis is wrong, without showing it', async () => {
    const guarded = await startRedis(['--requirepass', 'right']);
    try {
      // Also beside a target that is only away.
      const target = { url: `redis://127.0.0.1:${await deadPort()}` };
      sandbox.configure({ link: { source: { url: `redis://:hunter2@127.0.0.1:${guarded.port}` }, target } });
      const finished = await sandbox.keymend('worker');
      expectOneLine(finished, 'source of link east-to-west', /password|WRONGPASS|NOAUTH/);
      expect(finished.stderr).not.toContain('hunter2');
    } finally {
      await guarded.stop();
    }
  });
});

describe('the configuration', () => {
  it.each([
    ['links: []', /links/],
    ['kafka: {brokers: [nowhere]}\nlinks: [{name: a, source: {url: x}, target: {url: redis://a}}]', /host:port/],
    ['kafka: [', /not valid YAML/],
    ['kafka: {brokers: ["${NOT_SET}"]}', /NOT_SET is not set/],
    [
      'kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://a}, target: {url: redis://b}, settle: soon}]',
      /links\[0\]\.settle: is not a time/,
    ],
    ...['much', '0MB', '5TB', '-1KB'].map((size): [string, RegExp] => [
      `kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://a}, target: {url: redis://b}, budget: {bytesPerSecond: ${size}}}]`,
      /links\[0\]\.budget\.bytesPerSecond: is not a size/,
    ]),
    ...[
      ['host: 0.0.0.0', /http\.token: is missing: others than this machine reach http\.host/],
      ['host: "::", port: 80', /http\.token: is missing/],
      ['port: 70000', /http\.port: must be a port, 0 to 65535/],
      ['port: soon', /http\.port: must be a port/],
      ['token: ""', /http\.token: must be printable ASCII without spaces/],
      ['ports: 80', /unknown key "http\.ports", did you mean "http\.port"\?/],
    ].map(([http, message]): [string, RegExp] => [
      `http: {${http as string}}\nkafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://a}, target: {url: redis://b}}]`,
      message as RegExp,
    ]),
    ['surge: {enter: 5, leave: 6}\nkafka: {brokers: [a:1]}\nlinks: []', /surge\.leave: is more than surge\.enter/],
    [
      'kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://b}, target: {cluster: ["redis://a:71022"]}}]',
      /links\[0\]\.target.*: is no url/,
    ],
    ...['redis://a:71022', 'redis://:pa#ss@a', 'redis://:p/w@a', 'redis://:50%off@a'].map((url): [string, RegExp] => [
      `kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://b}, target: {url: "${url}"}}]`,
      /links\[0\]\.target\.url: is no url: .* write # /,
    ]),
    [
      'kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://a/x}, target: {url: redis://b}}]',
      /links\[0\]\.source\.url: names no database, which is a number/,
    ],
    [
      'kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: "redis://:pw@a?connectTimeout=5000"}, target: {url: redis://b}}]',
      /links\[0\]\.source\.url: has the parameter connectTimeout/,
    ],
    [
      'kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://a}, target: {url: "redis://b?db=abc"}}]',
      /links\[0\]\.target\.url: has a parameter db that can't be one/,
    ],
    [
      'kafka: {brokers: [a:1]}\nlinks: [{name: a, source: {url: redis://a}, target: {url: redis://b}}, {name: b, source: {url: redis://a}, target: {url: redis://c}}]',
      /workflowIdPrefix/,
    ],
  ])('%j is refused with its place', async (text, message) => {
    writeFileSync(sandbox.configure({}), text);
    expectOneLine(await sandbox.keymend('config', 'check'), message);
  });

  it('that is missing is named, with the way to get one', async () => {
    const finished = await runKeymend(['worker', '--config', '/nowhere/keymend.yaml']);
    expectOneLine(finished, '/nowhere/keymend.yaml');
  });

  it('takes values from the environment and its path from KEYMEND_CONFIG', async () => {
    const path = sandbox.configure({});
    writeFileSync(path, readFileSync(path, 'utf8').replace(/groupId: .*/, 'groupId: ${GROUP}'));
    const finished = await runKeymend(['config', 'check', '--output', 'json'], { KEYMEND_CONFIG: path, GROUP: 'g' });
    expect(finished.code).toBe(0);
    expect(JSON.parse(finished.stdout)).toMatchObject({ ok: true });
  });

  it('check says which service fails and passes the others', async () => {
    const port = await deadPort();
    sandbox.configure({ link: { target: { url: `redis://127.0.0.1:${port}` } } });
    const finished = await sandbox.keymend('config', 'check', '--output', 'json');
    expect(finished.code).toBe(1);
    const { ok, checks } = JSON.parse(finished.stdout) as { ok: boolean; checks: { problem: string | null }[] };
    expect(ok).toBe(false);
    expect(checks.filter(({ problem }) => problem !== null)).toHaveLength(1);
    expect(checks.at(-1)).toMatchObject({ problem: null, notChecked: "target of link east-to-west can't be used" });
    const { stdout, stderr } = await sandbox.keymend('config', 'check');
    expect(stdout).toMatch(
      /^- {7}source and target of .* different servers .*: not checked, because target of link east-to-west can't be used$/m,
    );
    expect(stderr).toBe('keymend: 1 of 5 checks failed\n');
  });

  it('check, and a worker, notice two names of one Redis, but take two databases of it for two', async () => {
    const { port } = sandbox.source;
    sandbox.configure({ link: { target: { url: `redis://localhost:${port}` } } });
    const { code, stdout } = await sandbox.keymend('config', 'check');
    expect(code).toBe(1);
    const message = new RegExp(
      `target of link \\S+ \\(localhost:${port}\\) is the same Redis as source of link \\S+ \\(127.0.0.1:${port}\\); give the link`,
    );
    expect(stdout).toMatch(message);
    expectOneLine(await sandbox.keymend('worker'), message);
    expect((await sandbox.keymend('status')).stdout).toContain('is the same Redis as source');
    sandbox.configure({ link: { target: { url: `redis://localhost:${port}/1` } } });
    expect((await sandbox.keymend('config', 'check')).code).toBe(0);
  });

  it('check says that a user may not be asked which server it is; a worker starts nevertheless', async () => {
    const { source } = sandbox;
    await source.client.call('ACL', 'SETUSER', 'narrow', 'on', '>secret', '~*', '+@all', '-info');
    sandbox.configure({ link: { source: { url: `redis://narrow:secret@127.0.0.1:${source.port}` } } });
    const { code, stdout } = await sandbox.keymend('config', 'check');
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^FAILED {2}INFO server, by which .* failed: source of link \S+ \(.*\) does not let this user/m,
    );
    const worker = await sandbox.start('worker');
    await worker.stop();
  });
});

describe('verbs about one key', () => {
  async function json<T>(...args: string[]): Promise<T> {
    const { stdout, stderr, code } = await sandbox.keymend(...args, '--output', 'json');
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as T;
  }

  it('show, retry and skip an escalated key, and reconcile one that nobody reported', async () => {
    const { source, target, producer, topic } = sandbox;
    // Other tests have escalated keys on the same Temporal.
    const link = `link-${sandbox.prefix.slice(0, -1)}`;
    sandbox.configure({ link: { name: link, retry: { maximumAttempts: 2, initialInterval: '10ms' } } });
    const escalations = () => json<object[]>('escalations', '--link', link);
    const running = await sandbox.start('start');
    await source.client.mset('a', '1', 'b', '2', 'c', '3');
    await target.client.replicaof('127.0.0.1', 1);
    await producer.send({ topic, messages: [recordOf('a', { link }), recordOf('b', { link })] });
    await until(async () => (await escalations()).length === 2);

    const status = await json<Record<string, unknown>>('status', 'a');
    expect(status).toMatchObject({
      state: 'escalated',
      attempts: 2,
      pending: 1,
      lastError: { type: 'TargetReadOnly' },
    });
    expect(Date.parse(status.nextRetry as string)).toBeGreaterThan(Date.now());
    const failed = await sandbox.keymend('reconcile', 'a');
    expectOneLine(failed, 'TargetReadOnly');

    await json('skip', 'b', '--reason', 'not needed');
    await until(async () => (await json<{ state: string }>('status', 'b')).state === 'done');
    expect(await json('status', 'b')).toMatchObject({ lastOutcome: 'skipped', skipReason: 'not needed' });

    await target.client.replicaof('NO', 'ONE');
    await until(async () => (await escalations()).length === 1);
    expect(await json('retry', '--escalated', '--link', link)).toEqual({ retried: 1 });
    await until(async () => (await target.client.get('a')) === '1');

    expect(await json('reconcile', 'c')).toMatchObject({ outcome: 'repaired', key: 'c' });
    expect(await json('reconcile', 'c')).toMatchObject({ outcome: 'equal' });
    expect(await target.client.get('b')).toBeNull();
    expect(await running.stop()).toBe(0);
  });

  it('say so when nothing is known of a key', async () => {
    sandbox.configure({});
    await sandbox.source.client.set('never-seen', 'a value');
    const finished = await sandbox.keymend('status', 'never-seen');
    expectOneLine(finished, 'never-seen', 'reconcile');
    // Somebody asks because something is wrong with it.
    expect(finished.stdout).toMatch(
      /^now +differs: the target lacks the key\nsource +string of 7 bytes, .*\ntarget +not there$/m,
    );
  });

  it("refuse a key of keymend's own with one line, however it is written", async () => {
    sandbox.configure({});
    const base64 = Buffer.from([...Buffer.from('keymend:'), 0xff]).toString('base64');
    for (const verb of ['reconcile', 'retry']) {
      for (const key of [['keymend:budget:east-to-west'], [base64, '--encoding', 'base64']]) {
        const { code, stderr } = await sandbox.keymend(verb, ...key);
        expect(stderr).toBe("keymend: a key that begins with keymend: is keymend's own and is never reconciled\n");
        expect(code).toBe(2);
      }
    }
  });

  it('end with code 2 when they are used wrongly', async () => {
    for (const args of [
      ['status', '--link', 'none'],
      ['retry'],
      ['skip'],
      ['skip', 'a'],
      ['reconcile', 'a', '--link', 'none'],
      ['no-such-verb'],
    ]) {
      expect((await sandbox.keymend(...args)).code, args.join(' ')).toBe(2);
    }
  });

  it('all explain themselves with --help, which ends with examples', async () => {
    for (const verb of [
      'demo',
      'stack',
      'bridge',
      'worker',
      'start',
      'status',
      'reconcile',
      'retry',
      'skip',
      'escalations',
      'config',
      'stack up',
      'stack down',
      'stack status',
      'config check',
    ]) {
      const { code, stdout } = await runKeymend([...verb.split(' '), '--help']);
      expect(code).toBe(0);
      expect(stdout).toContain(`keymend ${verb}`);
      expect(stdout).toMatch(/\nExamples?:\n( {2}np\S+ .*\n)+$/);
    }
  });
});

it('keymend stack status says that nothing was ever started where it looks', async () => {
  const { code, stdout, stderr } = await runKeymend(['stack', 'status', '--directory', '/nowhere/.keymend']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^temporal +stopped/);
  expect(stderr).toMatch(/^no stack was ever started in \/nowhere\/\.keymend; .* --directory$/m);
});
