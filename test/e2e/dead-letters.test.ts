/** Dead letters from an outage of the target to the end, with a real bridge and worker. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { compareRedis } from '../support/compare.js';
import { eventually } from '../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../support/keymend.js';

let sandbox: Sandbox;
let link: string;
beforeEach(async () => {
  sandbox = await createSandbox();
  link = sandbox.prefix.slice(0, -1);
});
afterEach(() => sandbox?.close());

const keysOf = (count: number) => Array.from({ length: count }, (_, index) => `user:${index}`);

/** Writes keys on the source alone, and records that they failed. */
async function fail(keys: readonly string[], more: object = {}): Promise<void> {
  const { source, producer, topic } = sandbox;
  await source.client.mset(...keys.flatMap((key) => [key, 'new']));
  await producer.send({ topic, messages: keys.map((key) => recordOf(key, { link, ...more })) });
}

async function dlq(...args: string[]) {
  const { code, stdout, stderr } = await sandbox.keymend('dlq', ...args, '--output', 'json');
  if (stdout === '') throw new Error(stderr);
  return { code, answer: JSON.parse(stdout), stderr };
}

async function untilLetters(count: number): Promise<void> {
  await eventually(async () => expect((await dlq('group')).answer.letters).toBe(count));
}

/** Workflows of keys that are still under way. */
async function open(): Promise<string[]> {
  const ids = [];
  const query = `WorkflowType = "reconcileKey" AND ExecutionStatus = "Running" AND TaskQueue = "keymend-${link}"`;
  for await (const { workflowId } of sandbox.client.workflow.list({ query })) ids.push(workflowId);
  return ids;
}

it('a false fix redrives one key and stops; the right one heals all, and nothing is left', async () => {
  const { source, target } = sandbox;
  sandbox.configure({ link: { name: link, retry: { maximumAttempts: 1 } } });
  await target.client.replicaof('127.0.0.1', 1);
  const keys = keysOf(30);
  await fail(keys);
  await sandbox.start('start');
  await untilLetters(keys.length);

  const { groups } = (await dlq('group')).answer;
  expect(groups).toMatchObject([
    { reason: 'attempts-exhausted', errorType: 'TargetReadOnly', link, prefix: 'user:', letters: 30 },
  ]);
  const redrive = groups[0].next.split(' ').slice(3);
  expect(redrive.slice(0, 2)).toEqual(['redrive', '--group']);

  const falseFix = await dlq(...redrive);
  expect(falseFix.code).toBe(3);
  expect(falseFix.answer).toMatchObject({
    outcome: 'stopped',
    counts: { redriven: 1, healed: 0, failedAgain: 1 },
    failures: [{ type: 'TargetReadOnly', letters: 1 }],
  });
  expect((await dlq('group')).answer.letters).toBe(30);
  const redriven = (await dlq('list')).answer.map((letter: { redriven: number }) => letter.redriven);
  expect(redriven.sort()).toEqual([...Array(29).fill(0), 1]);

  await target.client.replicaof('NO', 'ONE');
  const { code, answer } = await dlq(...redrive);
  expect(answer).toMatchObject({ outcome: 'done', counts: { redriven: 30, healed: 30, failedAgain: 0, keys: 30 } });
  expect(code).toBe(0);
  expect(await compareRedis(source.client, target.client)).toEqual([]);
  expect((await dlq('list')).answer).toEqual([]);
  await eventually(async () => expect(await open()).toEqual([]));
});
