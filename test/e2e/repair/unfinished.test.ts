/** Keys whose run was ended from outside while something was pending. */
import type { WorkflowHandle } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as messages from '../../../workflows/messages.js';
import { NET_MS, until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

const KEYS = 40;
const handleOf = (key: string): WorkflowHandle => sandbox.client.workflow.getHandle(sandbox.prefix + key);
const end = {
  cancelled: (handle: WorkflowHandle) => handle.cancel(),
  terminated: (handle: WorkflowHandle) => handle.terminate(),
};

async function fail(key: string, member: string, more: object = {}): Promise<void> {
  const { producer, topic } = sandbox;
  await producer.send({ topic, messages: [recordOf(key, { command: 'HSET', members: [member], ...more })] });
}

/** Both fields of every key differ, and f1 of each waits for an hour to be tried again. */
async function pendingF1(): Promise<string[]> {
  const { source, target } = sandbox;
  sandbox.configure({ link: { retry: { initialInterval: '1h', maximumInterval: '1h' } } });
  await sandbox.start('start');
  const keys = Array.from({ length: KEYS }, (_, index) => `hash:${index}`);
  const [write, damage] = [source.client.pipeline(), target.client.pipeline()];
  for (const key of keys) {
    write.hset(key, { f1: 'new', f2: 'new' });
    damage.hset(key, { f1: 'old', f2: 'old' });
  }
  await Promise.all([write.exec(), damage.exec()]);
  await target.client.config('SET', 'min-replicas-to-write', '1');
  await Promise.all(keys.map((key) => fail(key, 'f1')));
  for (const key of keys) {
    await until(async () => {
      const run = await handleOf(key)
        .describe()
        .catch(() => null);
      return Number(run?.raw.pendingActivities?.[0]?.attempt ?? 0) > 1;
    });
  }
  await target.client.config('SET', 'min-replicas-to-write', '0');
  return keys;
}

const fieldsOf = (key: string) => sandbox.target.client.hgetall(key);

describe.each(['cancelled', 'terminated'] as const)('a hash whose run was %s while f1 was pending', (how) => {
  it(
    'has both fields repaired once f2 fails, whenever that is',
    async () => {
      const keys = await pendingF1();
      await Promise.all(
        keys.map(async (key) => {
          await end[how](handleOf(key));
          await fail(key, 'f2');
        }),
      );
      for (const key of keys) {
        await until(async () => {
          // On a busy machine an attempt may fail, and the next is due in an hour.
          await handleOf(key)
            .signal(messages.retry)
            .catch(() => {});
          return Object.values(await fieldsOf(key)).join() === 'new,new';
        });
      }
    },
    NET_MS,
  );

  it('says so in its status, and promises nothing', async () => {
    sandbox.configure({ link: { settle: '1h' } });
    await sandbox.start('start');
    await fail('k', 'f1', { outcome: 'unknown' });
    await until(() =>
      handleOf('k')
        .describe()
        .then(
          () => true,
          () => false,
        ),
    );
    await end[how](handleOf('k'));
    await until(async () => (await handleOf('k').describe()).status.name !== 'RUNNING');
    const { stdout } = await sandbox.keymend('status', 'k', '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ state: how, nextRetry: null, workflow: how.toUpperCase() });
    const text = await sandbox.keymend('status', 'k');
    expect(text.stdout).toMatch(new RegExp(`^state +${how}`, 'm'));
    expect(text.stdout).toContain('whole key');
    expect(text.stdout).not.toContain('next retry');
  });
});
