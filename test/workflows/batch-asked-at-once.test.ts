/**
 * Who tells a batch to try again while it is tried asks at once what came of it; its history still
 * replays.
 */
import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import {
  ALL_EQUAL,
  BATCH_TYPE,
  type BatchActivities,
  type BatchInput,
  packed,
  retry,
  status,
} from '../../workflows/batch-messages.js';
import { failedWrite, onStack, POLICY, workflowBundle } from '../support/workflow-bed.js';

const server = onStack();
const ATTEMPTS = 6;

function inputOf(topic: string): BatchInput {
  const write = packed(failedWrite());
  const part = { topic, partition: 0, first: '0', last: '0', firstId: write.id };
  return { link: 'east-to-west', policy: POLICY, part, writes: [write] };
}

it('a batch that is told to try again and asked about while it is tried can be replayed', async () => {
  const { nativeConnection: connection, client } = server.env;
  const taskQueue = `batch-${randomUUID()}`;
  const asking: Promise<unknown>[] = [];
  let run: { handle: WorkflowHandle; attempts: number; end: () => void };
  const activities: BatchActivities = {
    async reconcileBatch() {
      run.attempts += 1;
      if (run.attempts === ATTEMPTS) run.end();
      else {
        // What comes during a task is in the next one, and so is the question.
        const told = run.handle.signal(retry);
        asking.push(run.handle.query(status).catch(() => {}));
        await told;
      }
      return { ...ALL_EQUAL, deferred: [{ indices: [0], retryAfterMs: 3_600_000 }] };
    },
    handOver: async () => {},
  };
  const worker = await Worker.create({ connection, taskQueue, workflowBundle: workflowBundle(), activities });
  await worker.runUntil(async () => {
    // How often an attempt has ended in one task, and its reply was heeded in the next.
    for (let late = 0; late < 1; ) {
      const workflowId = `batch-${randomUUID()}`;
      const handle = client.workflow.getHandle(workflowId);
      const ended = new Promise<void>((end) => {
        run = { handle, attempts: 0, end };
      });
      await client.workflow.start(BATCH_TYPE, { workflowId, taskQueue, args: [inputOf(workflowId)] });
      await ended;
      await Promise.all(asking.splice(0));
      const history = await handle.fetchHistory();
      await Worker.runReplayHistory({ workflowBundle: workflowBundle() }, history);
      await handle.terminate();
      const events = history.events ?? [];
      for (const [index, { markerRecordedEventAttributes: marker }] of events.entries()) {
        if (marker && events[index + 1]?.workflowExecutionSignaledEventAttributes) late += 1;
      }
    }
    expect(asking).toEqual([]);
  });
});
