/** A run that is cancelled: nothing of what was pending is forgotten in silence. */
import { WorkflowFailedError } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import {
  failedWrite,
  type Handle,
  inputOf,
  onStack,
  POLICY,
  Script,
  startKey,
  UNAVAILABLE,
  withScript,
  workerFor,
} from '../support/workflow-bed.js';

const server = onStack();

/** Nothing happens by itself within a test. */
const PATIENT = { ...POLICY, settleMs: 3_600_000, retry: { ...POLICY.retry, initialIntervalMs: 3_600_000 } };
const PERMANENT = { fail: 'NoPermission', permanent: true } as const;
const inFlight = (changes: Partial<messages.FailedWrite> = {}) =>
  failedWrite({ outcome: 'unknown', failedAt: new Date().toISOString(), ...changes });

const inState = (handle: Handle, state: messages.State) =>
  until(async () => (await handle.query(messages.status)).state === state);

async function expectCancelled(handle: Handle): Promise<void> {
  const failure = await handle.result().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(WorkflowFailedError);
  expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
  expect(await handle.query(messages.status)).toMatchObject({ state: 'cancelled', pending: 0, nextRetry: null });
}

describe('a cancelled run', () => {
  it('that settles leaves a dead letter with all that was pending', async () => {
    const script = new Script(server.env, 'equal');
    await withScript(script, async (start) => {
      const events = ['f1', 'f2'].map((member) => inFlight({ command: 'HSET', members: [member] }));
      const handle = await start({ events, policy: PATIENT });
      await inState(handle, 'settling');
      await handle.cancel();
      await expectCancelled(handle);
      expect(script.escalations).toMatchObject([
        { event: { command: 'HSET', members: ['f1', 'f2'] }, error: { type: 'Cancelled', stage: null }, attempts: 0 },
      ]);
      expect(script.requests).toEqual([]);
    });
  });

  it('that retries in the server stops that, and its dead letter names the last error', async () => {
    const script = new Script(server.env, UNAVAILABLE);
    await withScript(script, async (start) => {
      const handle = await start({ policy: { ...PATIENT, retry: { ...PATIENT.retry, initialIntervalMs: 60_000 } } });
      await until(() => script.requests.length === 2);
      await handle.cancel();
      await expectCancelled(handle);
      expect(script.escalations).toMatchObject([
        { error: { type: 'Cancelled', message: expect.stringContaining('TargetUnavailable') } },
      ]);
    });
  });

  it('that is escalated leaves that state, and a dead letter beside that of the escalation', async () => {
    const script = new Script(server.env, PERMANENT);
    await withScript(script, async (start) => {
      const handle = await start({ policy: PATIENT });
      await until(() => script.escalations.length === 1);
      await handle.cancel();
      await expectCancelled(handle);
      expect(script.escalations.map(({ error }) => error.type)).toEqual(['NoPermission', 'Cancelled']);
      const { typedSearchAttributes } = await handle.describe();
      expect(typedSearchAttributes.getAll().map(({ key }) => key.name)).not.toContain('KeymendState');
    });
  });

  it('that no failed write had asked for has nothing to leave behind', async () => {
    const script = new Script(server.env, UNAVAILABLE);
    await withScript(script, async (start) => {
      const handle = await start({ events: [], policy: PATIENT });
      await until(() => script.requests.length === 2);
      await handle.cancel();
      await expectCancelled(handle);
      expect(script.escalations).toEqual([]);
    });
  });

  it('that nobody had begun yet gives up on what it was to do', async () => {
    const script = new Script(server.env, 'equal');
    const taskQueue = `script-${Date.now()}-cancelled`;
    const handle = await startKey(server.env.client, taskQueue, { policy: PATIENT });
    await handle.cancel();
    const worker = await workerFor(script, taskQueue);
    await worker.runUntil(() => expectCancelled(handle));
    expect(script.requests).toEqual([]);
    expect(script.escalations).toHaveLength(1);
  });

  it('is no end of a write that fails meanwhile: it gets a run that looks at the whole key', async () => {
    const script = new Script(server.env, 'equal');
    const publish = script.activities.escalate;
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    script.activities.escalate = async (request) => {
      await publish(request);
      await opened;
    };
    await withScript(script, async (start) => {
      const handle = await start({ events: [inFlight()], policy: PATIENT });
      await inState(handle, 'settling');
      await handle.cancel();
      await until(() => script.escalations.length === 1);
      await handle.signal(messages.failedWrites, [failedWrite({ command: 'HSET', members: ['f2'] })]);
      open();
      expect(await handle.result()).toEqual({ outcome: 'equal', attempts: 1 });
      expect(script.requests).toMatchObject([{ request: { hint: { whole: true } } }]);
      expect(script.escalations).toHaveLength(1);
    });
  });

  it('loses no write that comes at the same time', async () => {
    const script = new Script(server.env, 'equal');
    await withScript(script, async (start) => {
      const one = async () => {
        const handle = await start({ events: [inFlight()], policy: PATIENT });
        await inState(handle, 'settling');
        const cancelled = handle.cancel();
        const isTaken = await handle.signal(messages.failedWrites, [failedWrite()]).then(
          () => true,
          () => false,
        );
        await cancelled;
        await handle.result().catch(() => {});
        const lettered = (await inputOf(server.env, handle)).carried === undefined;
        // What came before the cancel was pending, and is in the letter.
        return { isTaken, lettered };
      };
      const ends = await Promise.all(Array.from({ length: 10 }, one));
      expect(script.escalations).toHaveLength(10);
      expect(script.requests).toHaveLength(ends.filter(({ lettered }) => !lettered).length);
    });
  });

  it('answers who waits for it', async () => {
    const script = new Script(server.env, UNAVAILABLE);
    await withScript(script, async (start) => {
      const handle = await start({ policy: PATIENT });
      await until(() => script.requests.length === 2);
      const answer = handle.executeUpdate(messages.reconcileNow, { args: [{}] }).catch((error: unknown) => error);
      await until(() => script.requests.length === 4);
      await handle.cancel();
      await expectCancelled(handle);
      expect(await answer).toMatchObject({ cause: { type: 'Cancelled' } });
    });
  });
});
