/**
 * Who tells a batch to try again while it is tried asks at once what came of it; its history still
 * replays, and goes the same way.
 */
import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
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

function inputOf(topic: string, ...keys: string[]): BatchInput {
  const writes = keys.map((key) => packed(failedWrite({ key })));
  const part = { topic, partition: 0, first: '0', last: '0', firstId: writes[0]!.id };
  return { link: 'east-to-west', policy: POLICY, part, writes };
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
      await client.workflow.start(BATCH_TYPE, { workflowId, taskQueue, args: [inputOf(workflowId, 'k')] });
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

type History = Parameters<typeof historyToJSON>[0];

/** As a replay sees it where a query was answered in the task in which the attempt ended. */
function firstAttemptEndedEarlier(history: History, ms: number): unknown {
  const json = JSON.parse(historyToJSON(history)) as { events: { markerRecordedEventAttributes?: Marker }[] };
  const { data } = json.events.find((event) => event.markerRecordedEventAttributes)!.markerRecordedEventAttributes!
    .details;
  const [payload] = data.payloads;
  const told = JSON.parse(Buffer.from(payload!.data, 'base64').toString()) as { complete_time: { seconds: number } };
  told.complete_time.seconds -= ms / 1_000;
  payload!.data = Buffer.from(JSON.stringify(told)).toString('base64');
  return json;
}

interface Marker {
  readonly details: { readonly data: { readonly payloads: { data: string }[] } };
}

it('a batch does not take one key for healed for another, although its attempt ended earlier in a replay', async () => {
  const { nativeConnection: connection, client } = server.env;
  const taskQueue = `batch-${randomUUID()}`;
  const tried: string[][] = [];
  const activities: BatchActivities = {
    async reconcileBatch({ writes, asked }) {
      tried.push(writes.map(({ key }) => key));
      if (tried.length > 1) return { ...ALL_EQUAL, asked };
      // In a replay no attempt ends before its task began.
      await Context.current().sleep(2_000);
      const deferred = [
        { indices: [0], retryAfterMs: 500 },
        { indices: [1], retryAfterMs: 2_500 },
      ];
      return { ...ALL_EQUAL, deferred, asked };
    },
    handOver: async () => {},
  };
  const worker = await Worker.create({ connection, taskQueue, workflowBundle: workflowBundle(), activities });
  const history = await worker.runUntil(async () => {
    const workflowId = `batch-${randomUUID()}`;
    const args = [inputOf(workflowId, 'soon', 'later')];
    const handle = await client.workflow.start(BATCH_TYPE, { workflowId, taskQueue, args });
    await handle.result();
    return handle.fetchHistory();
  });
  expect(tried).toEqual([['soon', 'later'], ['soon'], ['later']]);
  // Taken for healed, `later` would not be tried once more.
  await Worker.runReplayHistory({ workflowBundle: workflowBundle() }, firstAttemptEndedEarlier(history, 2_000));
});
