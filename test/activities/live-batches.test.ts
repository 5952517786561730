/**
 * Live writers beside batches of hundreds of keys, as a worker makes them: by the workflow, with
 * its activities and real Redis. What fails of the writes goes into the next batch, and a checker
 * judges the record of all writes.
 */
import { randomUUID } from 'node:crypto';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BATCHES_AT_ONCE, createBatchActivities } from '../../activities/batch.js';
import { mergeWrites } from '../../src/bridge/merge.js';
import { isIdempotent } from '../../src/commands/command.js';
import type { LinkSides } from '../../src/engine/index.js';
import {
  BATCH_KEYS,
  BATCH_TYPE,
  type BatchInput,
  type BatchReply,
  type BatchResult,
  packed,
} from '../../workflows/batch-messages.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { breathe, DELETING, type LiveBed, startLiveBed } from '../engine/live-writing.js';
import { onStack, POLICY, workflowBundle } from '../support/workflow-bed.js';

const WRITING = { writers: 4, writesEach: 3_000, stringsEach: 20, othersEach: 250, longestPauseMs: 30 };
/** Keys of the first batch. */
const MANY = 300;
/** Short, so that many batches go by: what a writer has given up can't land any more. */
const SHORT_POLICY = { ...POLICY, settleMs: 50, retry: { ...POLICY.retry, initialIntervalMs: 50 } };

const server = onStack();
let bed: LiveBed;
beforeAll(async () => {
  bed = await startLiveBed();
});
afterAll(() => bed?.stop());

/** Failed writes by their key that are in no batch, as the bridge holds them. */
class Backlog {
  readonly #byKey = new Map<string, FailedWrite[]>();

  readonly sink = {
    publish: async (records: readonly FailedWrite[]) => {
      for (const record of records) this.add({ ...record, idempotent: isIdempotent(record.command ?? '') });
    },
  };

  add(write: FailedWrite): void {
    this.#byKey.set(write.key, [...(this.#byKey.get(write.key) ?? []), write]);
  }

  get size(): number {
    return this.#byKey.size;
  }

  take(): BatchInput {
    const writes = [...this.#byKey.values()].slice(0, BATCH_KEYS).map((ofKey) => packed(mergeWrites(ofKey)));
    for (const { key } of writes) this.#byKey.delete(key);
    const receivedAt = new Date().toISOString();
    const part = { topic: 't', partition: 0, first: '0', last: '9', firstId: writes[0]!.id, receivedAt };
    return { link: 'test', policy: SHORT_POLICY, part, writes };
  }
}

async function workerOf(sides: LinkSides, taskQueue: string, backlog: Backlog, onReply: (reply: BatchReply) => void) {
  return Worker.create({
    connection: server.env.nativeConnection,
    taskQueue,
    workflowBundle: workflowBundle(),
    activities: createBatchActivities({
      links: new Map([['test', { sides, options: DELETING }]]),
      handOver: async (write) => backlog.add(write),
      onBatch: ({ reply }) => onReply(reply),
    }),
  });
}

function batchOf(input: BatchInput, taskQueue: string): Promise<BatchResult> {
  return server.env.client.workflow.execute<(input: BatchInput) => Promise<BatchResult>>(BATCH_TYPE, {
    workflowId: `live-batch-${randomUUID()}`,
    taskQueue,
    args: [input],
  });
}

test('no batch brings back what a client has overwritten or deleted, and all ends equal', async () => {
  const backlog = new Backlog();
  const taskQueue = `live-batches-${randomUUID()}`;
  const ended: BatchResult[] = [];
  let lookedAgain = 0;
  const batches = async (isWriting: () => boolean) => {
    while (isWriting() && ended.length === 0 && backlog.size < MANY) await breathe(20);
    while (isWriting() || backlog.size > 0) {
      await breathe(20);
      if (backlog.size === 0) continue;
      ended.push(await batchOf(backlog.take(), taskQueue));
    }
  };
  const judged = await bed.run(WRITING, backlog.sink, async ({ sides, isWriting }) => {
    const worker = await workerOf(sides, taskQueue, backlog, ({ lookAgain }) => {
      lookedAgain += lookAgain.length;
    });
    await worker.runUntil(() => Promise.all(Array.from({ length: BATCHES_AT_ONCE }, () => batches(isWriting))));
  });
  expect(judged).toEqual({ violations: [], differences: [], isPutToTheTest: true });
  // Else it would not have been put to the test.
  const sum = (count: 'equal' | 'repaired') => ended.reduce((all, batch) => all + batch[count], 0);
  expect(Math.max(...ended.map(({ keys }) => keys))).toBeGreaterThanOrEqual(MANY);
  expect(ended.length).toBeGreaterThan(BATCHES_AT_ONCE);
  for (const count of [sum('equal'), sum('repaired'), lookedAgain]) expect(count).toBeGreaterThan(0);
}, 120_000);
