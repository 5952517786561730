/** A backlog, with real Kafka and Temporal and no worker: what becomes of which record. */
import { randomBytes } from 'node:crypto';
import { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import type { Bridge } from '../../src/bridge/bridge.js';
import { type CodecKey, payloadCodec } from '../../src/temporal/codec.js';
import { BATCH_TYPE, type BatchInput, unpacked } from '../../workflows/batch-messages.js';
import { gapWorkflowId } from '../../workflows/gap-messages.js';
import { createTopics } from '../support/topics.js';
import { type BridgeBed, bridgeBed, toldOf, until } from './bridge-bed.js';

const keysFrom = (first: number, count: number) => Array.from({ length: count }, (_, index) => `k${first + index}`);
const written = (keys: readonly string[]) => keys.map((key) => ({ id: `${key}#1`, key }));

async function surgeBed(more: { partitions?: number; links?: readonly string[] } = {}) {
  const bed = await bridgeBed({ ...more, surge: { enter: 50, leave: 1 } });
  const { topic } = bed.config.kafka;
  const [{ name: link } = { name: '' }] = bed.config.links;
  const batchId = (first: number, of = link) => `keymend/batch/${of}/${topic}/0/${first}`;
  return { ...bed, link, topic, batchId };
}

/** Of all batches that were started, the positions in order, and the input of each. */
async function batchesOf(bed: BridgeBed): Promise<{ id: string; input: BatchInput; delayMs: number }[]> {
  const found: { id: string; input: BatchInput; delayMs: number }[] = [];
  const query = `WorkflowType = "${BATCH_TYPE}" AND TaskQueue = "${bed.config.temporal.taskQueue}"`;
  for await (const { workflowId, runId } of bed.client.workflow.list({ query })) {
    const { events } = await bed.client.workflow.getHandle(workflowId, runId).fetchHistory();
    const { input, firstWorkflowTaskBackoff: delay } = events![0]!.workflowExecutionStartedEventAttributes!;
    const delayMs = Number(delay?.seconds ?? 0) * 1_000 + (delay?.nanos ?? 0) / 1e6;
    found.push({ id: workflowId, input: defaultPayloadConverter.fromPayload(input!.payloads![0]!), delayMs });
  }
  return found.sort((a, b) => Number(a.input.part.first) - Number(b.input.part.first));
}

async function untilBatches(bed: BridgeBed, count: number) {
  await until(async () => expect(await batchesOf(bed)).toHaveLength(count));
  return batchesOf(bed);
}

/** @returns the bridge that did it */
async function forwardSixty(bed: BridgeBed): Promise<Bridge> {
  await bed.produce(...written(keysFrom(0, 60)));
  const bridge = await bed.start();
  await bed.untilCommitted(60);
  return bridge;
}

/** As after a crash before the commit. */
async function rewind({ admin, config }: BridgeBed): Promise<void> {
  const { groupId, topic } = config.kafka;
  await until(() => admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '0' }] }));
}

test('the keys of a link go to one workflow, several failed writes of a key as one, and no key by itself', async () => {
  const bed = await surgeBed();
  const keys = keysFrom(0, 60);
  await bed.produce(...written(keys), { id: 'k0#2', key: 'k0', command: undefined });
  await bed.start();
  await bed.untilCommitted(61);
  const [batch, ...more] = await untilBatches(bed, 1);
  expect(more).toEqual([]);
  expect(batch!.id).toBe(bed.batchId(0));
  const { link, part, policy, writes } = batch!.input;
  expect({ link, part }).toEqual({
    link: bed.link,
    part: { topic: bed.topic, partition: 0, first: '0', last: '60', firstId: 'k0#1', receivedAt: expect.any(String) },
  });
  expect(policy.settleMs).toBe(1_000);
  expect(writes.map(({ key }) => key)).toEqual(keys);
  expect(writes[0]!.merged).toMatchObject({ count: 2, ids: ['k0#1', 'k0#2'] });
  expect(writes[1]).toMatchObject({ id: 'k1#1', command: 'SADD', record: { offset: '1' } });
  await expect(bed.workflow('k0')).rejects.toThrow('not found');
});

test('a batch holds at most a thousand keys', async () => {
  const bed = await surgeBed();
  await bed.produce(...written(keysFrom(0, 2_100)));
  await bed.start();
  await bed.untilCommitted(2_100);
  await until(async () => {
    const sizes = (await batchesOf(bed)).map(({ input }) => input.writes.length);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(2_100);
    expect(Math.max(...sizes)).toBe(1_000);
  });
});

test('records that come again find their batch and start nothing new', async () => {
  const bed = await surgeBed();
  const first = await forwardSixty(bed);
  await first.stop();
  await rewind(bed);
  await bed.start();
  await bed.untilCommitted(60);
  await untilBatches(bed, 1);
});

test('records whose batch is encrypted with a key that was removed go in another one', async () => {
  const bed = await surgeBed();
  const [old, next] = ['old', 'new'].map((id) => ({ id, secret: randomBytes(32).toString('base64') }));
  const withKeys = (...keys: CodecKey[]) => {
    const dataConverter = { payloadCodecs: [payloadCodec(keys)] };
    return new Client({ connection: bed.client.connection, dataConverter }).workflow;
  };
  // Of its own: the bed can't read what runs there.
  const taskQueue = `codec-${bed.config.temporal.taskQueue}`;
  const config = { ...bed.config, temporal: { ...bed.config.temporal, taskQueue } };
  const batches = async () => {
    const ids: string[] = [];
    const listed = withKeys(old!, next!).list({ query: `TaskQueue = "${taskQueue}"` });
    for await (const { workflowId } of listed) ids.push(workflowId);
    return ids;
  };
  await bed.produce(...written(keysFrom(0, 60)));
  const first = await bed.start({ client: withKeys(old!), config });
  await bed.untilCommitted(60);
  await until(async () => expect(await batches()).toHaveLength(1));
  await first.stop();
  await rewind(bed);
  const second = await bed.start({ client: withKeys(next!), config });
  await bed.untilCommitted(60);
  await until(async () => expect(await batches()).toHaveLength(2));
  await second.stop();
  for (const workflowId of await batches()) await bed.client.workflow.getHandle(workflowId).terminate();
  const line = `what the batch ${bed.batchId(0)} holds can't be read (a payload is encrypted with the key "old"`;
  expect(bed.warnings().filter((text) => !text.startsWith('surge'))).toEqual([expect.stringContaining(line)]);
});

test('what is unexpected is told of by its name, and not as an outage of Temporal', async () => {
  const bed = await surgeBed();
  const client = new Client({ connection: bed.client.connection }).workflow;
  const start = client.start.bind(client);
  let failures = 0;
  client.start = (async (...args: Parameters<typeof start>) => {
    if (failures++ === 0) throw new TypeError('a bug');
    return start(...args);
  }) as typeof client.start;
  await bed.produce(...written(keysFrom(0, 60)));
  await bed.start({ client });
  await bed.untilCommitted(60);
  await untilBatches(bed, 1);
  expect(bed.warnings().filter((line) => !line.startsWith('surge'))).toEqual([
    `unexpected TypeError in a batch of ${bed.topic}[0], which is tried again: a bug`,
  ]);
});

test('of records that come again with more behind them only those are new', async () => {
  const bed = await surgeBed();
  const first = await forwardSixty(bed);
  await first.stop();
  await rewind(bed);
  await bed.produce(...written(keysFrom(60, 40)));
  await bed.start();
  await bed.untilCommitted(100);
  const [, second] = await untilBatches(bed, 2);
  expect(second!.input.part).toMatchObject({ first: '60', last: '99' });
  expect(second!.input.writes).toHaveLength(40);
});

test('a batch that was terminated is told of as a gap, and begun anew when its records come again', async () => {
  const link = `surge-${ulid().toLowerCase()}`;
  const bed = await surgeBed({ links: [link] });
  const first = await forwardSixty(bed);
  const batch = bed.client.workflow.getHandle(bed.batchId(0));
  await batch.terminate();
  const { runId } = await batch.describe();
  await until(async () => {
    const gaps = await toldOf(bed, link);
    expect(gaps).toMatchObject([{ id: `${bed.batchId(0)} ${runId}`, cause: 'ended' }]);
    expect(gaps[0]!.message).toContain('was terminated before each of its keys was healed');
  });
  await first.stop();
  await rewind(bed);
  await bed.start();
  await bed.untilCommitted(60);
  await untilBatches(bed, 2);
  await bed.client.workflow.getHandle(`keymend/gap/${link}`).terminate();
});

test('a batch that was terminated while no bridge ran is told of once, and of a gap that was closed before only that was dealt with', async () => {
  const link = `surge-${ulid().toLowerCase()}`;
  const bed = await surgeBed({ links: [link] });
  const gap = bed.client.workflow.getHandle(gapWorkflowId(link));
  const told = () => bed.logs.filter(({ cause }) => cause === 'ended').length;
  const batch = bed.client.workflow.getHandle(bed.batchId(0));
  const endedAgain = async () => {
    const bridge = await bed.start();
    await untilBatches(bed, 1 + told());
    await bridge.stop();
    await batch.terminate();
  };
  const first = await forwardSixty(bed);
  await untilBatches(bed, 1);
  await first.stop();
  await batch.terminate();
  const second = await bed.start();
  await until(async () => expect(await toldOf(bed, link)).toMatchObject([{ cause: 'ended' }]));
  await second.stop();

  // Begun anew under its ID, and ended once more while no bridge runs. Then somebody closes the gap
  // that says only what was before.
  await rewind(bed);
  await endedAgain();
  await gap.terminate();
  const { runId } = await gap.describe();
  const third = await bed.start();
  await until(async () => expect((await gap.describe()).runId).not.toBe(runId));
  expect(await toldOf(bed, link)).toMatchObject([{ id: `${bed.batchId(0)} ${(await batch.describe()).runId}` }]);
  await third.stop();
  expect(told()).toBe(2);

  // Both were told of: while the second gap is open, and when it is not any more. One that is ended
  // behind them is told of, so that it is known that somebody has looked.
  for (const isOpen of [true, false]) {
    if (!isOpen) await gap.terminate();
    const before = told();
    const workflowId = `${bed.batchId(60)} ${isOpen}`;
    const { taskQueue } = bed.config.temporal;
    const behind = await bed.client.workflow.start(BATCH_TYPE, { workflowId, taskQueue, memo: { link } });
    await behind.terminate();
    const again = await bed.start();
    const id = `${workflowId} ${behind.firstExecutionRunId}`;
    await until(async () => expect(await toldOf(bed, link)).toContainEqual(expect.objectContaining({ id })));
    await again.stop();
    expect(told()).toBe(before + 1);
  }
});

test('a log that was made anew has the same positions: its records are not taken for those of before', async () => {
  const link = `surge-${ulid().toLowerCase()}`;
  const bed = await surgeBed({ links: [link] });
  const first = await forwardSixty(bed);
  await first.stop();
  const { topic } = bed.config.kafka;
  await bed.admin.deleteTopics({ topics: [topic] });
  await until(() => createTopics(bed.admin, { topic, numPartitions: 1 }));
  await until(() => bed.produce(...keysFrom(0, 60).map((key) => ({ id: `${key}#2`, key }))));
  await bed.start();
  await until(async () => {
    const batches = await batchesOf(bed);
    expect(batches.map(({ id }) => id.slice(0, bed.batchId(0).length))).toEqual([bed.batchId(0), bed.batchId(0)]);
    expect(batches.map(({ input }) => input.part.firstId).sort()).toEqual(['k0#1', 'k0#2']);
  });
  await bed.client.workflow
    .getHandle(gapWorkflowId(link))
    .terminate()
    .catch(() => {});
});

test('a workflow of somebody else under the ID of a batch is not taken for it', async () => {
  const bed = await surgeBed();
  await bed.client.workflow.start('foreign', { workflowId: bed.batchId(0), taskQueue: bed.config.temporal.taskQueue });
  await bed.produce(...written(keysFrom(0, 60)));
  await bed.start();
  await bed.untilCommitted(60);
  const [batch] = await untilBatches(bed, 1);
  expect(batch!.id).toMatch(/\/0~[0-9a-f]{16}$/);
});

test('a failed write by a clock that is ahead settles from now on', async () => {
  const bed = await surgeBed();
  const ahead = { failedAt: '2099-01-01T00:00:00.000Z', outcome: 'unknown' } as const;
  await bed.produce(...written(keysFrom(0, 60)).map((write) => ({ ...write, ...ahead })));
  await bed.start();
  await bed.untilCommitted(60);
  const [batch] = await untilBatches(bed, 1);
  for (const { failedAt } of batch!.input.writes) expect(Date.parse(failedAt)).toBeLessThanOrEqual(Date.now());
});

test('what may be in flight settles from when it was read, whatever the clock of its producer says', async () => {
  const bed = await surgeBed();
  const behind = { failedAt: '2020-01-01T00:00:00.000Z', outcome: 'unknown' } as const;
  await bed.produce(...written(keysFrom(0, 60)).map((write) => ({ ...write, ...behind })));
  const begunAt = Date.now();
  await bed.start();
  await bed.untilCommitted(60);
  const [batch] = await untilBatches(bed, 1);
  expect(batch!.delayMs).toBe(batch!.input.policy.settleMs);
  expect(Date.parse(batch!.input.part.receivedAt!)).toBeGreaterThanOrEqual(begunAt);
  expect(unpacked(batch!.input, batch!.input.writes[0]!).receivedAt).toBe(batch!.input.part.receivedAt);
});

test('a batch of which nothing is in flight begins at once', async () => {
  const bed = await surgeBed();
  await forwardSixty(bed);
  const [batch] = await untilBatches(bed, 1);
  expect(batch!.delayMs).toBe(0);
});

test('each link has a batch of its own, and what no workflow can be told of becomes a dead letter', async () => {
  const [one, other] = [`one-${ulid().toLowerCase()}`, `other-${ulid().toLowerCase()}`];
  const bed = await surgeBed({ links: [one, other] });
  const mixed = keysFrom(0, 60).map((key, index) => ({ id: `${key}#1`, key, link: index % 2 ? other : one }));
  await bed.produce(...mixed, { key: 'bad', value: 'no JSON' });
  await bed.start();
  await bed.untilCommitted(61);
  const batches = await untilBatches(bed, 2);
  expect(batches.map(({ id }) => id).sort()).toEqual([bed.batchId(0, one), bed.batchId(1, other)].sort());
  expect(batches.map(({ input }) => input.writes.length)).toEqual([30, 30]);
  expect(await bed.deadLetters(1)).toHaveLength(1);
});

test('eight batches are at work at most, and the rest stays in the log until one has ended', async () => {
  const bed = await surgeBed();
  for (let begin = 0; begin < 12_000; begin += 2_000) await bed.produce(...written(keysFrom(begin, 2_000)));
  await bed.start();
  const eight = await untilBatches(bed, 8);
  await bed.untilCommitted(eight.reduce((sum, { input }) => sum + input.writes.length, 0));
  await bed.client.workflow.getHandle(bed.batchId(0)).terminate();
  await untilBatches(bed, 9);
});
