/** A target that does not answer, with real workers: keys wait, and one workflow tells of it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type OutageStatus, outageWorkflowId, status } from '../../../workflows/outage-messages.js';
import { gaps, seconds, watch } from '../../redis/commandstats.js';
import { compareRedis } from '../../support/compare.js';
import { eventually, until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

const KEYS = Array.from({ length: 20 }, (_, index) => `key:${index}`);
/** With those that fail once the outage is known, and travel in a batch. */
const ALL = Array.from({ length: 200 }, (_, index) => `key:${index}`);
const OPS_PER_SECOND = 200;

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

it('lets its keys wait without an attempt, shows and tells it once, and heals them all within the budget', async () => {
  const { source, target, producer, topic, client, prefix } = sandbox;
  const link = prefix.slice(0, -1);
  // Two attempts would be over in a moment.
  const retry = { maximumAttempts: 2, initialInterval: '100ms' };
  sandbox.configure({ link: { name: link, retry, budget: { opsPerSecond: OPS_PER_SECOND } } });
  const started = await sandbox.start('start');
  await source.client.mset(...ALL.flatMap((key) => [key, 'new']));
  target.freeze();
  const records = KEYS.map((key) => recordOf(key, { link }));
  await producer.send({ topic, messages: records });

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

  const more = ALL.slice(KEYS.length).map((key) => ({ ...recordOf(key, { link }), partition: 0 }));
  await producer.send({ topic, messages: more });
  // A worker does not tell of each further key at once.
  const aboutAll = expect.toSatisfy((keys: number) => keys > 0.75 * ALL.length && keys <= ALL.length);
  await eventually(async () =>
    expect(await outage.query<OutageStatus>(status)).toMatchObject({ keysWaiting: aboutAll }),
  );

  target.thaw();
  const samples = await watch(target, () =>
    until(async () => {
      const query = `TaskQueue = "keymend-${link}" AND ExecutionStatus = "Running"`;
      return (await client.workflow.count(query)).count === 0;
    }),
  );
  expect(herds(samples)).toEqual([]);
  expect(await compareRedis(source.client, target.client)).toEqual([]);
  expect(await deadLetters()).toBe(0);
  for (const key of KEYS) {
    const result = await client.workflow.getHandle(`${prefix}${key}`).result();
    expect(result).toEqual({ outcome: 'repaired', attempts: 1 });
  }
  expect(await outage.result()).toMatchObject({ link, shard, keysWaiting: aboutAll, until: expect.any(String) });
  await started.logged('answers again');
  const lines = started.log().split('\n');
  expect(lines.filter((line) => line.includes(`${shard} of link ${link} does not answer (`))).toHaveLength(1);
  expect(lines.filter((line) => line.includes('answers again'))).toHaveLength(1);
  for (const { key, value } of records) {
    const { id: eventId } = JSON.parse(value);
    const told = lines.filter((line) => line.includes(eventId) && line.includes('"repaired"'));
    expect(told.map((line) => JSON.parse(line))).toMatchObject([
      { link, workflowId: prefix + key, eventId, attempt: expect.any(Number), durationMs: expect.any(Number) },
    ]);
  }
});

/**
 * The seconds in which the target got more than twice the budget of its link: what a worker of a
 * busy machine was granted in one second it may do in the next.
 */
function herds(samples: Awaited<ReturnType<typeof watch>>) {
  return seconds(samples, gaps(samples)).filter(
    ({ operations, heldUpMs }) => operations > OPS_PER_SECOND * (2 + heldUpMs / 1_000),
  );
}

async function deadLetters(): Promise<number> {
  const admin = sandbox.kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(sandbox.deadLetterTopic);
  await admin.disconnect();
  return ends.reduce((sum, { high }) => sum + Number(high), 0);
}
