/** What processes say of themselves over HTTP, from their start to their end. */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Running, recordOf, type Sandbox, spawnKeymend } from '../../support/keymend.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

/** @returns the path of a configuration in which processes answer on a free port */
function configure(changes: Parameters<Sandbox['configure']>[0] = {}): string {
  return sandbox.configure({ ...changes, config: { http: { port: 0 }, ...changes.config } });
}

async function urlOf({ log, logged }: Running): Promise<string> {
  await logged(' has /livez');
  return /http:\/\/[\d.:]+/.exec(log())![0];
}

async function ask(url: string, path: string): Promise<[status: number, text: string]> {
  const response = await fetch(`${url}${path}`);
  return [response.status, await response.text()];
}

/** By name and labels. */
async function metricsOf(url: string): Promise<Map<string, number>> {
  const [, text] = await ask(url, '/metrics');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

describe('keymend start', () => {
  it('counts what it was told of and what it has repaired, and names no key', async () => {
    configure({ link: { retry: { maximumAttempts: 1 } } });
    const running = await sandbox.start('start');
    const url = await urlOf(running);
    expect(await ask(url, '/livez')).toEqual([200, 'ok\n']);
    expect(await ask(url, '/readyz')).toEqual([200, 'ok\n']);
    const { source, target, producer, topic } = sandbox;
    await source.client.mset('user:42', 'new', 'user:43', 'same');
    await target.client.set('user:43', 'same');
    const failedAt = new Date(Date.now() - 3_000).toISOString();
    await producer.send({
      topic,
      messages: [
        recordOf('user:42', { failedAt }),
        recordOf('user:43'),
        recordOf('user:44', { link: 'nowhere' }),
        { key: 'user:45', value: 'not JSON' },
      ],
    });
    const link = 'link="east-to-west"';
    await eventually(async () => {
      const metrics = await metricsOf(url);
      expect(metrics.get(`keymend_reconciles_total{${link},result="repaired",error=""}`)).toBe(1);
      expect(metrics.get(`keymend_reconciles_total{${link},result="equal",error=""}`)).toBe(1);
      expect(metrics.get('keymend_records_total{outcome="dead_lettered"}')).toBe(2);
    });
    const [, text] = await ask(url, '/metrics');
    expect(text).not.toContain('user:4');
    const metrics = await metricsOf(url);
    expect(Object.fromEntries(metrics)).toMatchObject({
      keymend_records_received_total: 4,
      'keymend_records_total{outcome="signalled"}': 2,
      'keymend_records_total{outcome="batched"}': 0,
      'keymend_dead_letters_total{reason="unknown-link"}': 1,
      'keymend_dead_letters_total{reason="invalid-json"}': 1,
      [`keymend_attempt_seconds_count{${link}}`]: 2,
      [`keymend_convergence_lag_seconds_count{${link}}`]: 1,
      [`keymend_outages{${link}}`]: 0,
      keymend_surge: 0,
      keymend_batches_open: 0,
      'keymend_build_info{version="0.1.0"}': 1,
    });
    expect(metrics.get(`keymend_convergence_lag_seconds_sum{${link}}`)).toBeGreaterThanOrEqual(3);
    const atTarget = `${link},shard="127.0.0.1:${target.port}"`;
    expect(metrics.get(`keymend_budget_wait_seconds_count{${atTarget}}`)).toBeGreaterThan(0);
    expect(metrics.get('process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(metrics.get(`keymend_budget_operations_total{${atTarget}}`)).toBeGreaterThan(0);
    // What stands, as Temporal and the source say it a little later.
    await eventually(async () =>
      expect(Object.fromEntries(await metricsOf(url))).toMatchObject({
        'keymend_workflows_open{type="reconcileKey"}': 0,
        'keymend_workflows_open{type="gap"}': 0,
        keymend_keys_escalated: 0,
        keymend_oldest_repair_seconds: 0,
        keymend_temporal_answers: 1,
        [`keymend_failing_keys{${link}}`]: 2,
        [`keymend_outbox_records{${link}}`]: 0,
      }),
    );
    expect(await running.stop()).toBe(0);
  });

  it('counts keys that it gives up on, and servers that are out', async () => {
    configure({ link: { retry: { maximumAttempts: 1 }, escalation: { retryEvery: '1h' } } });
    const { source, target, producer, topic, client, prefix } = sandbox;
    const running = await sandbox.start('start');
    const url = await urlOf(running);
    const link = 'link="east-to-west"';
    await source.client.set('refused', 'v');
    await target.client.config('SET', 'min-replicas-to-write', '1');
    onTestFinished(async () => {
      await target.client.config('SET', 'min-replicas-to-write', '0');
    });
    await producer.send({ topic, messages: [recordOf('refused')] });
    await eventually(async () => {
      const lines = [...(await metricsOf(url)).keys()];
      expect(lines).toContainEqual(expect.stringMatching(`^keymend_escalations_total{${link},error="\\w+"}$`));
      expect(lines).toContainEqual(
        expect.stringMatching(`^keymend_reconciles_total{${link},result="failed",error="\\w+"}$`),
      );
      expect(lines).toContainEqual(
        expect.stringMatching(/^keymend_dead_letters_total\{reason="(attempts-exhausted|permanent-error)"\}$/),
      );
    });
    await client.workflow.getHandle(`${prefix}refused`).terminate();

    target.freeze();
    onTestFinished(() => target.thaw());
    await producer.send({ topic, messages: [recordOf('away')] });
    await eventually(async () => expect((await metricsOf(url)).get(`keymend_outages{${link}}`)).toBe(1));
    // The bridge and the worker are there, and what they need comes back or not.
    expect(await ask(url, '/readyz')).toEqual([200, 'ok\n']);
    expect(await ask(url, '/livez')).toEqual([200, 'ok\n']);
    target.thaw();
    await eventually(async () => expect((await metricsOf(url)).get(`keymend_outages{${link}}`)).toBe(0));
    expect(await running.stop()).toBe(0);
  });

  // An attempt at a frozen target lasts two seconds: who hears of it or of the stop later than
  // that, on a busy machine, finds the process gone.
  const again = { retry: 5 };

  it('is not ready from the signal on, and answers until all it had begun has ended', again, async () => {
    configure();
    const running = await sandbox.start('start');
    const url = await attemptUnderWay(running);
    const ended = once(running.process, 'exit');
    running.process.kill('SIGTERM');
    await running.logged('stopping');
    expect(await ask(url, '/readyz')).toEqual([503, 'not ready: stopping\n']);
    expect(await ask(url, '/livez')).toEqual([200, 'ok\n']);
    sandbox.target.thaw();
    expect(await ended).toEqual([0, null]);
  });

  it.each([['SIGTERM'], ['SIGINT']] as const)('ends at once when %s comes second', again, async (second) => {
    configure();
    const running = await sandbox.start('start');
    await attemptUnderWay(running);
    running.process.kill('SIGTERM');
    await running.logged('stopping');
    expect(await running.stop(second)).toBe(second === 'SIGTERM' ? 143 : 130);
    sandbox.target.thaw();
  });
});

/**
 * Leaves a worker, which is gone with its test, with an attempt that hangs at the frozen target.
 * @returns where it answers
 */
async function attemptUnderWay(running: Running): Promise<string> {
  const { source, target, producer, topic } = sandbox;
  onTestFinished(async () => void (await running.stop('SIGKILL')));
  const url = await urlOf(running);
  const key = `held-${Date.now()}`;
  await source.client.set(key, 'v');
  target.freeze();
  onTestFinished(() => target.thaw());
  await producer.send({ topic, messages: [recordOf(key)] });
  await eventually(async () =>
    // Of a try before it there may be a record that had not been committed.
    expect((await metricsOf(url)).get('keymend_records_total{outcome="signalled"}')).toBeGreaterThanOrEqual(1),
  );
  return url;
}

describe('a process that is starting', () => {
  it('is alive and not ready, and a signal ends it', async () => {
    // Takes connections, and answers none.
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as { port: number };
    const path = configure();
    writeFileSync(path, readFileSync(path, 'utf8').replace(/address: .*/, `address: 127.0.0.1:${port}`));
    const running = spawnKeymend(['worker', '--config', path]);
    const url = await urlOf(running);
    expect(await ask(url, '/livez')).toEqual([200, 'ok\n']);
    expect(await ask(url, '/readyz')).toEqual([503, 'not ready: starting\n']);
    expect(await running.stop()).toBe(0);
    expect(running.log()).not.toContain('worker is ready');
  });
});

it.each(['bridge', 'worker'])('keymend %s alone is ready, and shows its own metrics alone', async (verb) => {
  configure();
  const running = await sandbox.start(verb);
  const url = await urlOf(running);
  await eventually(async () => expect(await ask(url, '/readyz')).toEqual([200, 'ok\n']));
  const names = [...(await metricsOf(url)).keys()].map((name) => name.split('{')[0]);
  expect(names.includes('keymend_records_received_total')).toBe(verb === 'bridge');
  expect(names.includes('keymend_outages')).toBe(verb === 'worker');
  // Those of Temporal's SDK, by the names that Prometheus wants.
  expect(names.includes('temporal_worker_start_total')).toBe(verb === 'worker');
  expect(await running.stop()).toBe(0);
});
