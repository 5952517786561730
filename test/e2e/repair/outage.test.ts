/** A target that does not answer, with real workers: keys wait, and one workflow tells of it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type OutageStatus, outageWorkflowId, status } from '../../../workflows/outage-messages.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

const KEYS = Array.from({ length: 20 }, (_, index) => `key:${index}`);

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

it('lets its keys wait without an attempt, shows and tells it once, and heals them all', async () => {
  const { source, target, producer, topic, client, prefix } = sandbox;
  const link = prefix.slice(0, -1);
  // Two attempts would be over in a moment.
  sandbox.configure({ link: { name: link, retry: { maximumAttempts: 2, initialInterval: '100ms' } } });
  const started = await sandbox.start('start');
  await source.client.mset(...KEYS.flatMap((key) => [key, 'new']));
  target.freeze();
  await producer.send({ topic, messages: KEYS.map((key) => recordOf(key, { link })) });

  const shard = `127.0.0.1:${target.port}`;
  const outage = client.workflow.getHandle(outageWorkflowId(link, shard));
  await eventually(async () => {
    const { since, reason, ...known } = await outage.query<OutageStatus>(status);
    expect(known).toEqual({ link, shard, until: null, keysWaiting: KEYS.length });
    expect(reason).not.toBe('');
    expect(Date.parse(since)).toBeLessThan(Date.now());
  });
  await started.logged('does not answer');
  await eventually(async () => {
    const { stdout } = await sandbox.keymend('status', KEYS[0]!, '-l', link, '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ state: 'waiting', attempts: 0, outage: { shard } });
  });
  // It may be at its next try just when it is asked.
  await eventually(async () => {
    const { stdout } = await sandbox.keymend('status', KEYS[0]!, '-l', link);
    expect(stdout).toContain(`waits for     ${shard} (no answer since `);
  });
  await eventually(async () => {
    const { stdout: told } = await sandbox.keymend('retry', KEYS[0]!, '-l', link);
    expect(told).toMatch(
      new RegExp(`^${prefix}${KEYS[0]} waits for ${shard} \\(no answer since \\S+\\), and is tried again`),
    );
    expect(told.trim().split('\n')).toHaveLength(1);
  });
  await eventually(async () => {
    const all = await sandbox.keymend('status');
    expect(all.stdout).toContain(`${shard} of link ${link} has not answered since `);
    expect(all.stdout).toContain(`about ${KEYS.length} keys wait for it`);
  });

  target.thaw();
  for (const key of KEYS) {
    const result = await client.workflow.getHandle(`${prefix}${key}`).result();
    expect(result).toEqual({ outcome: 'repaired', attempts: 1 });
  }
  expect(await target.client.mget(...KEYS)).toEqual(KEYS.map(() => 'new'));
  expect(await outage.result()).toMatchObject({ link, shard, keysWaiting: KEYS.length, until: expect.any(String) });
  await started.logged('answers again');
  const lines = started.log().split('\n');
  expect(lines.filter((line) => line.includes(`${shard} of link ${link} does not answer (`))).toHaveLength(1);
  expect(lines.filter((line) => line.includes('answers again'))).toHaveLength(1);
});
