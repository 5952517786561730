/** The programs in examples/ do to keymend what its own client does, by the raw names alone. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import { eventually } from '../support/eventually.js';
import { createSandbox, ENVIRONMENT, recordOf, type Sandbox } from '../support/keymend.js';
import { stack } from '../support/services.js';

const run = promisify(execFile);
const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));
/** To fetch and compile them takes its time where nothing is cached. */
const BUILD_MS = 600_000;

const LANGUAGES: readonly (readonly [string, (directory: string) => Promise<string[]>])[] = [
  [
    'Python',
    async (directory) => {
      await run('python3', ['-m', 'venv', join(directory, 'python')]);
      const python = join(directory, 'python', 'bin', 'python');
      const requirements = join(EXAMPLES, 'python', 'requirements.txt');
      await run(python, ['-m', 'pip', 'install', '--quiet', '--requirement', requirements]);
      return [python, join(EXAMPLES, 'python', 'keymend_client.py')];
    },
  ],
  [
    'Go',
    async (directory) => {
      const program = join(directory, 'keymend-example');
      await run('go', ['build', '-o', program, '.'], { cwd: join(EXAMPLES, 'go') });
      return [program];
    },
  ],
];

let sandbox: Sandbox;
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'keymend-examples-'));
  sandbox = await createSandbox();
  sandbox.configure({ link: { retry: { maximumAttempts: 1 } } });
  await sandbox.start('start');
});
afterAll(async () => {
  await sandbox?.close();
  rmSync(directory, { recursive: true, force: true });
});

describe.each(LANGUAGES)('the example in %s', (language, build) => {
  let program: string[];
  beforeAll(async () => {
    program = await build(directory);
  }, BUILD_MS);

  async function example(...args: string[]): Promise<Record<string, unknown>> {
    const environment = {
      ...ENVIRONMENT,
      TEMPORAL_ADDRESS: stack().temporal.address,
      KEYMEND_TASK_QUEUE: `keymend-${sandbox.prefix.slice(0, -1)}`,
      KEYMEND_PREFIX: sandbox.prefix,
    };
    const [file, ...before] = program as [string, ...string[]];
    const { stdout } = await run(file, [...before, ...args], { env: environment });
    return JSON.parse(stdout);
  }

  it('reconciles a key, and asks for its status', async () => {
    const key = `${language}:1`;
    await sandbox.source.client.set(key, 'new');
    expect(await example('reconcile', 'east-to-west', key)).toEqual({ outcome: 'repaired', attempts: 1 });
    expect(await sandbox.target.client.get(key)).toBe('new');
    expect(await example('status', 'east-to-west', key)).toMatchObject({ state: 'done', lastOutcome: 'repaired' });
  });

  it('retries and skips a key that is escalated', async () => {
    const key = `${language}:2`;
    const { source, target, producer, topic, client, prefix } = sandbox;
    await source.client.set(key, 'new');
    await target.client.replicaof('127.0.0.1', 1);
    try {
      await producer.send({ topic, messages: [recordOf(key)] });
      const escalated = async () =>
        expect(await client.workflow.getHandle(prefix + key).query('status')).toMatchObject({ state: 'escalated' });
      await eventually(escalated);
      await example('retry', 'east-to-west', key);
      await eventually(escalated);
      await example('skip', 'east-to-west', key, 'not', 'needed');
      await eventually(async () =>
        expect(await example('status', 'east-to-west', key)).toMatchObject({ skipReason: 'not needed' }),
      );
    } finally {
      await target.client.replicaof('NO', 'ONE');
    }
  });

  it('tells a workflow of somebody else nothing', async () => {
    const workflowId = `${sandbox.prefix}${language}:order`;
    const foreign = await sandbox.client.workflow.start('OrderWorkflow', { workflowId, taskQueue: 'orders' });
    const before = (await foreign.fetchHistory()).events!.length;
    expect(await example('retry', 'east-to-west', `${language}:order`)).toMatchObject({ error: 'WorkflowIdTaken' });
    expect((await foreign.fetchHistory()).events).toHaveLength(before);
    await foreign.terminate();
  });

  it('knows the workflow of each key', async () => {
    const keys = [
      ...['user:42', 'k e y', 'ключ', '鍵:1', '👍', 'no-break\u00a0space', 'soft\u00adhyphen', 'zero\u200bwidth'],
      ...['tab\there', 'line\u2028end', 'keymend/x', 'sha256:x', `sha256:${'a'.repeat(64)}`],
      ...['x'.repeat(246), 'x'.repeat(247), '鍵'.repeat(246), '👍'.repeat(246), '👍'.repeat(247)],
    ];
    for (const key of keys) {
      expect(await example('id', 'east-to-west', key), key).toEqual({
        workflowId: workflowIdFor(sandbox.prefix, Buffer.from(key)),
      });
    }
  });
});
