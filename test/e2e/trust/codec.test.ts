/**
 * With a codec, and a secret for workflow IDs, Temporal keeps what it can not read, and everything
 * else goes on as without.
 */
import { randomBytes } from 'node:crypto';
import proto from '@temporalio/proto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeAuthority } from '../../support/authority.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Running, recordOf, type Sandbox } from '../../support/keymend.js';
import { stack } from '../../support/services.js';

const key = (name: string) => `canary-${name}`;
const REASON = 'is a replica, not a master';
const CANARIES = ['canary', REASON, 'why-skipped'];

let sandbox: Sandbox;
let both: Running;
const files = makeAuthority();
const [old, next] = ['old', 'next'].map((id) => ({
  id,
  secretFile: files.file(id, `${randomBytes(32).toString('base64')}\n`),
}));

function configure(keys: readonly object[]): void {
  const temporal = { taskQueue: `codec-${sandbox.prefix}`, address: stack().temporal.address, codec: { keys } };
  sandbox.configure({
    link: {
      workflowIdSecret: 'a secret of thirty-two characters',
      settle: '10ms',
      retry: { maximumAttempts: 2, initialInterval: '10ms' },
    },
    config: { temporal },
  });
}

beforeAll(async () => {
  sandbox = await createSandbox();
  configure([old!]);
  both = await sandbox.start('start');
});
afterAll(async () => {
  await sandbox?.close();
  files.remove();
});

const asked = (verb: string, name: string, ...more: string[]) =>
  sandbox.keymend(verb, Buffer.from(key(name)).toString('base64'), '--encoding', 'base64', '-o', 'json', ...more);

async function idOf(name: string): Promise<string> {
  return (JSON.parse((await asked('status', name)).stdout) as { workflowId: string }).workflowId;
}

/** The bytes of all that Temporal keeps of a key. */
async function keptOf(workflowId: string): Promise<Buffer> {
  const handle = sandbox.client.workflow.getHandle(workflowId);
  const [history, { raw }] = [await handle.fetchHistory(), await handle.describe()];
  const { api } = proto.temporal;
  return Buffer.concat([
    api.history.v1.History.encode(history).finish(),
    api.workflowservice.v1.DescribeWorkflowExecutionResponse.encode(raw).finish(),
  ]);
}

const readable = (bytes: Buffer) => CANARIES.filter((canary) => bytes.includes(canary));

it('a repair works, and neither key nor text stands in what Temporal keeps', async () => {
  await sandbox.source.client.set(key('repaired'), 'v');
  await sandbox.producer.send({ topic: sandbox.topic, messages: [recordOf(key('repaired'))] });
  await eventually(async () => expect(await sandbox.target.client.get(key('repaired'))).toBe('v'));
  const kept = await keptOf(await idOf('repaired'));
  expect(readable(kept)).toEqual([]);
  expect(kept.includes('binary/encrypted')).toBe(true);
});

it('nor of a key that fails, is asked for, and is skipped; the command line reads all of it', async () => {
  await sandbox.target.client.replicaof('127.0.0.1', '1');
  await sandbox.source.client.set(key('failing'), 'v');
  await sandbox.producer.send({ topic: sandbox.topic, messages: [recordOf(key('failing'))] });
  const status = async () => (await asked('status', 'failing')).stdout;
  await eventually(async () => expect(JSON.parse(await status())).toMatchObject({ state: 'escalated' }));
  expect(await status()).toContain(REASON);
  const reconciled = await asked('reconcile', 'failing');
  expect(reconciled.stderr + reconciled.stdout).toContain(REASON);
  const id = await idOf('failing');
  expect(readable(await keptOf(id))).toEqual([]);

  configure([next!, old!]);
  expect(await status()).toContain(REASON);
  configure([next!]);
  expect((await asked('status', 'failing')).stderr).toMatch(
    /encrypted with the key .+old.+not in temporal\.codec\.keys; add it/,
  );
  configure([{ ...next!, id: 'old' }]);
  expect((await asked('status', 'failing')).stderr).toMatch(
    /can't be decrypted with the key .+old.+ its secret is not the one/,
  );
  configure([old!]);

  await sandbox.target.client.replicaof('NO', 'ONE');
  await asked('skip', 'failing', '--reason', 'why-skipped');
  expect(readable(await keptOf(id))).toEqual([]);
});

it('a worker without the key of a bridge says so in one line, and goes on once it has the key', async () => {
  await both.stop();
  configure([old!]);
  const worker = await sandbox.start('worker');
  configure([next!]);
  await sandbox.start('bridge');
  await sandbox.source.client.set(key('waiting'), 'v');
  await sandbox.producer.send({ topic: sandbox.topic, messages: [recordOf(key('waiting'))] });
  await worker.logged('a payload is encrypted with the key \\"next\\", which is not in temporal.codec.keys');
  await worker.stop();
  configure([old!, next!]);
  await sandbox.start('worker');
  await eventually(async () => expect(await sandbox.target.client.get(key('waiting'))).toBe('v'));
});
