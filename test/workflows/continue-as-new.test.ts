import { WithStartWorkflowOperation } from '@temporalio/client';
import { describe, expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import type { reconcileKey } from '../../workflows/reconcile-key.js';
import { until } from '../support/eventually.js';
import {
  failedWrite,
  giveUp,
  type Handle,
  inputOf,
  onStack,
  POLICY,
  retryUnlessDone,
  Script,
  withScript,
} from '../support/workflow-bed.js';

const server = onStack();

/** The newest run, whichever that is. */
function latest(handle: Handle) {
  return server.env.client.workflow.getHandle(handle.workflowId);
}

/** Sends failed writes until the workflow has continued as new. */
async function renew(handle: Handle): Promise<void> {
  const { runId } = await latest(handle).describe();
  const signal = () => latest(handle).signal(messages.failedWrites, [failedWrite()]);
  await until(async () => {
    await Promise.all(Array.from({ length: 20 }, signal));
    // Answered when they are taken: on a busy machine they would come faster than that.
    await latest(handle)
      .query(messages.status)
      .catch(() => {});
    return (await latest(handle).describe()).runId !== runId;
  });
}

describe('continue-as-new', () => {
  it('loses no failed write while signals pour in', async () => {
    const script = new Script(server.env, { fail: 'TargetUnavailable' });
    const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 1_000 } };
    await withScript(script, async (start) => {
      const handle = await start({ policy, historyEventsPerRun: 40 });
      const first = await latest(handle).describe();
      for (let i = 0; i < 300; i++) {
        await handle.signal(messages.failedWrites, [failedWrite({ command: 'SADD', members: [`m${i}`] })]);
      }
      script.attempts = ['repaired', 'equal'];
      await retryUnlessDone(latest(handle));
      await latest(handle).result();
      expect((await latest(handle).describe()).runId).not.toBe(first.runId);
      const members = new Set(script.requests.flatMap(({ request }) => request.hint.members.utf8));
      expect(members.size).toBe(300);
    });
  });

  it('keeps a key escalated with its marker, attempts and ids, and publishes no second dead letter', async () => {
    const script = new Script(server.env, { fail: 'NoPermission', permanent: true });
    const event = failedWrite();
    const policy = { ...POLICY, escalation: { retryEveryMs: 20 } };
    await withScript(script, async (start) => {
      const handle = await start({ events: [event], policy, historyEventsPerRun: 40 });
      const first = await latest(handle).describe();
      await until(async () => (await latest(handle).describe()).runId !== first.runId);
      await until(async () => (await latest(handle).query(messages.status)).state === 'escalated');
      const status = await latest(handle).query(messages.status);
      expect(status).toMatchObject({ pending: 1, lastError: { type: 'NoPermission' } });
      expect(status.attempts).toBeGreaterThan(2);
      expect((await latest(handle).describe()).searchAttributes[messages.SEARCH_ATTRIBUTES.state]).toEqual([
        'escalated',
      ]);
      await handle.signal(messages.failedWrites, [event]);
      expect((await latest(handle).query(messages.status)).pending).toBe(1);
      expect(script.escalations).toHaveLength(1);
      await giveUp(latest(handle));
    });
  });

  it('answers who asks an escalated key just after it by an attempt', async () => {
    const script = new Script(server.env, { fail: 'NoPermission', permanent: true });
    await withScript(script, async (start, taskQueue) => {
      const policy = { ...POLICY, escalation: { retryEveryMs: 20 } };
      const handle = await start({ policy, historyEventsPerRun: 40 });
      await until(async () => (await inputOf(server.env, handle)).carried !== undefined);
      const carried = await inputOf(server.env, handle);
      await giveUp(latest(handle));
      expect(carried.carried).toMatchObject({ escalation: 'published' });
      script.attempts = ['repaired'];
      // The first thing that a run finds: as of a key that continues as new at this moment.
      const operation = new WithStartWorkflowOperation<typeof reconcileKey>(messages.WORKFLOW_TYPE, {
        workflowId: `asked-${taskQueue}`,
        taskQueue,
        workflowIdConflictPolicy: 'FAIL',
        args: [{ ...carried, policy: POLICY }],
      });
      const answer = await server.env.client.workflow.executeUpdateWithStart(messages.reconcileNow, {
        args: [{}],
        startWorkflowOperation: operation,
      });
      expect(answer).toMatchObject({ outcome: 'repaired' });
      await (await operation.workflowHandle()).result();
    });
  });

  it('leaves an escalated key alone', async () => {
    const script = new Script(server.env, { fail: 'NoPermission', permanent: true });
    const HOUR_MS = 3_600_000;
    const retry = { ...POLICY.retry, maximumIntervalMs: HOUR_MS };
    await withScript(script, async (start) => {
      const handle = await start({
        policy: { ...POLICY, retry, escalation: { retryEveryMs: HOUR_MS } },
        historyEventsPerRun: 40,
      });
      await until(async () => (await handle.query(messages.status)).state === 'escalated');
      await renew(handle);
      expect(await latest(handle).query(messages.status)).toMatchObject({
        state: 'escalated',
        lastError: { type: 'NoPermission' },
      });
      await giveUp(latest(handle));
      expect(script.requests).toHaveLength(1);
    });
  });

  it('does not grant a key that is written all the time the whole policy again and again', async () => {
    const script = new Script(server.env, { fail: 'TargetUnavailable' });
    // A run is over long before the pauses between four attempts are.
    const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 4, initialIntervalMs: 1_000 } };
    await withScript(script, async (start) => {
      const handle = await start({ policy, historyEventsPerRun: 40 });
      const begun = new Set<unknown>();
      while (script.escalations.length === 0) {
        await renew(handle);
        begun.add((await inputOf(server.env, handle)).carried?.triesBegunAt);
      }
      await giveUp(latest(handle));
      // On a busy machine one run may last as long as the whole policy, or end before an attempt.
      expect([...begun].find((at) => at !== null)).toEqual(expect.any(Number));
    });
  });

  it('remembers what came of the writes before', async () => {
    const script = new Script(server.env, { fail: 'TargetUnavailable' }, 'repaired', { fail: 'TargetUnavailable' });
    const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 1_000 } };
    await withScript(script, async (start) => {
      const started = start({ policy, historyEventsPerRun: 60 });
      script.during = async (attempt) => {
        if (attempt === 2) await (await started).signal(messages.failedWrites, [failedWrite()]);
      };
      const handle = await started;
      await until(() => script.requests.length > 2);
      await renew(handle);
      expect(await latest(handle).query(messages.status)).toMatchObject({ lastOutcome: 'repaired' });
      script.attempts = ['equal'];
      await retryUnlessDone(latest(handle));
      expect(await latest(handle).result()).toMatchObject({ outcome: 'repaired' });
    });
  });

  it('does not forget that a repair has still to be verified', async () => {
    const script = new Script(server.env, 'repaired', 'equal');
    const policy = { ...POLICY, settleMs: 2_000 };
    await withScript(script, async (start) => {
      const started = start({ events: [failedWrite({ outcome: 'unknown' })], policy, historyEventsPerRun: 40 });
      script.during = async (attempt) => {
        if (attempt > 1) return;
        // All at once, when the repair is not over yet: none can come too late to be of this run.
        const handle = await started;
        await Promise.all(Array.from({ length: 40 }, () => handle.signal(messages.failedWrites, [failedWrite()])));
      };
      const handle = await started;
      await latest(handle).result();
      expect((await latest(handle).describe()).runId).not.toBe(handle.firstExecutionRunId);
      const [repair, ...comparisons] = script.requests;
      expect(comparisons.at(-1)!.at - repair!.at).toBeGreaterThanOrEqual(policy.settleMs);
    });
  });

  it('keeps what a person vouched for', async () => {
    const script = new Script(server.env, { fail: 'SourceSuspicious', permanent: true }, { defer: 100 });
    await withScript(script, async (start) => {
      const handle = await start({ historyEventsPerRun: 40 });
      const first = await latest(handle).describe();
      await until(async () => (await handle.query(messages.status)).state === 'escalated');
      await handle.signal(messages.retry, { allowDelete: true });
      await until(async () => (await latest(handle).describe()).runId !== first.runId);
      const before = script.requests.length;
      await until(() => script.requests.length > before);
      const ofMinute = script.requests.slice(1).filter(({ at }) => at < script.requests[1]!.at + 50_000);
      expect(ofMinute.length).toBeGreaterThan(1);
      expect(ofMinute.map(({ request }) => request.allowDelete)).not.toContain(false);
      await giveUp(latest(handle));
    });
  });

  it.each([
    ['a skip', { skipAsked: 'why' }, { outcome: 'skipped', skipReason: 'why' }, 0],
    ['a retry', { retryAsked: true }, { outcome: 'repaired' }, 1],
  ])('takes up %s that came too late for the run before', async (_what, asked, result, attempts) => {
    const script = new Script(server.env, { fail: 'TargetReadOnly' });
    const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 1 } };
    await withScript(script, async (start, taskQueue) => {
      const handle = await start({ policy, historyEventsPerRun: 40 });
      await until(() => script.escalations.length === 1);
      await renew(handle);
      const { carried, ...input } = await inputOf(server.env, handle);
      await giveUp(latest(handle));
      script.attempts = ['repaired'];
      const before = script.requests.length;
      const args = [{ ...input, carried: { ...carried!, ...asked } }];
      const options = { taskQueue, workflowId: `${handle.workflowId} again`, args };
      expect(await (await server.env.client.workflow.start('reconcileKey', options)).result()).toMatchObject(result);
      expect(script.requests.length - before).toBe(attempts);
    });
  });

  it('tells who waits on an update to ask again', async () => {
    const script = new Script(server.env, { fail: 'TargetUnavailable' });
    const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 1_000 } };
    await withScript(script, async (start) => {
      const handle = await start({ policy, historyEventsPerRun: 60 });
      await until(() => script.requests.length > 1);
      const answer = handle.executeUpdate(messages.reconcileNow, { args: [{}] }).catch((error: unknown) => error);
      for (let i = 0; i < 60; i++) await handle.signal(messages.failedWrites, [failedWrite()]);
      expect(await answer).toMatchObject({ cause: { type: 'ContinuedAsNew' } });
      await giveUp(latest(handle));
    });
  });
});
