import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { describe, expect, it } from 'vitest';
import { nextStep } from '../../workflows/error-types.js';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import {
  describeTimeSkipping,
  failedWrite,
  giveUp,
  POLICY,
  Script,
  SLOW_POLICY,
  shownOf,
  startKey,
  UNAVAILABLE,
  untilState,
  withScript,
  workerFor,
} from '../support/workflow-bed.js';

await describeTimeSkipping('reconcileKey: attempts', (server) => {
  describe('a key that heals at once', () => {
    it('is reconciled by one local attempt and completes', async () => {
      const script = new Script(server.env, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start();
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
        expect(script.requests.map(({ isLocal }) => isLocal)).toEqual([true]);
        expect(await handle.query(messages.status)).toMatchObject({
          state: 'done',
          lastOutcome: 'repaired',
          pending: 0,
        });
      });
    });

    it('is reconciled as a whole when the workflow was started by hand with nothing but link and key', async () => {
      const script = new Script(server.env, 'equal');
      await withScript(script, async (_start, taskQueue) => {
        const result = await server.env.client.workflow.execute(messages.WORKFLOW_TYPE, {
          workflowId: `by-hand-${taskQueue}`,
          taskQueue,
          args: [{ link: 'east-to-west', key: 'user:42' }],
        });
        expect(result).toEqual({ outcome: 'equal', attempts: 1 });
        expect(script.requests[0]?.request).toMatchObject({ key: 'user:42', encoding: 'utf8', hint: { whole: true } });
      });
    });
  });

  describe('a large key', () => {
    it('is found to be one by the local attempt and reconciled by a durable one, which is the first that counts', async () => {
      const script = new Script(server.env, 'large', 'repaired');
      await withScript(script, async (start) => {
        const handle = await start();
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
        expect(script.requests.map(({ isLocal }) => isLocal)).toEqual([true, false]);
      });
    });

    it('has all attempts of the policy', async () => {
      const script = new Script(server.env, 'large', ...Array(7).fill(UNAVAILABLE), 'repaired');
      await withScript(script, async (start) => {
        const handle = await start();
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 8 });
        expect(script.escalations).toEqual([]);
      });
    });
  });

  describe('a key whose target is away', () => {
    it('is tried again durably with the pauses of the policy until it heals', async () => {
      const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start({ policy: SLOW_POLICY });
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 4 });
        expect(script.requests.map(({ isLocal }) => isLocal)).toEqual([true, false, false, false]);
        expect(script.pauses()).toEqual([0, 10, 20]);
        expect(script.escalations).toEqual([]);
      });
    });

    it('escalates after the last attempt with a dead letter that names the failed write and the cause', async () => {
      const script = new Script(server.env, UNAVAILABLE);
      const event = failedWrite({ command: 'SADD', members: ['a'] });
      await withScript(script, async (start) => {
        const handle = await start({ events: [event], policy: SLOW_POLICY });
        const status = await untilState(server.env, handle, 'escalated', SLOW_POLICY.retry.initialIntervalMs);
        expect(status).toMatchObject({
          attempts: 8,
          pending: 1,
          lastError: { type: 'TargetUnavailable', stage: 'write' },
        });
        expect(script.pauses()).toEqual([0, 10, 20, 40, 80, 160, 320]);
        expect(await shownOf(handle)).toMatch(/^\*\*TargetUnavailable\. Next step:\*\* .*\n- tried: 8 attempts; /s);
        await until(() => script.escalations.length > 0);
        expect(script.escalations).toMatchObject([
          {
            event: { id: event.id, command: 'SADD', members: ['a'] },
            attempts: 8,
            error: { type: 'TargetUnavailable' },
          },
        ]);
        const description = await handle.describe();
        expect(description.searchAttributes[messages.SEARCH_ATTRIBUTES.state]).toEqual(['escalated']);
        await giveUp(handle);
      });
    });

    it('escalates after one attempt when the policy grants one', async () => {
      const script = new Script(server.env, UNAVAILABLE);
      const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 1 } };
      await withScript(script, async (start) => {
        const handle = await start({ policy });
        expect(await untilState(server.env, handle, 'escalated')).toMatchObject({ attempts: 1 });
        await giveUp(handle);
      });
    });

    it('escalates at once when trying again can not help', async () => {
      const script = new Script(server.env, { fail: 'Unsupported', permanent: true });
      await withScript(script, async (start) => {
        const handle = await start();
        expect(await untilState(server.env, handle, 'escalated')).toMatchObject({
          attempts: 1,
          lastError: { type: 'Unsupported' },
        });
        await giveUp(handle);
      });
    });
  });

  describe('an escalated key', () => {
    const permanent = { fail: 'NoPermission', permanent: true } as const;

    it('heals by the slow retry, tells nobody twice, and is no longer marked', async () => {
      const script = new Script(server.env, permanent, permanent, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start();
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 3 });
        expect(script.pauses()).toEqual([15, 15]);
        expect(script.escalations).toHaveLength(1);
        const { searchAttributes } = await handle.describe();
        expect(searchAttributes[messages.SEARCH_ATTRIBUTES.state] ?? []).not.toContain('escalated');
      });
    });

    it('gets every attempt of the policy again by a retry signal', async () => {
      const script = new Script(server.env, permanent, UNAVAILABLE, UNAVAILABLE, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        await handle.signal(messages.retry);
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 4 });
        expect(Math.max(...script.pauses())).toBeLessThan(15);
      });
    });

    it('escalates anew, with a second dead letter, when the retry fails as well', async () => {
      const script = new Script(server.env, permanent);
      await withScript(script, async (start) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        await handle.signal(messages.retry);
        while (script.escalations.length < 2) await server.env.sleep(100);
        expect((await untilState(server.env, handle, 'escalated')).attempts).toBe(2);
        await giveUp(handle);
      });
    });

    it('is given up on by a skip signal, and the reason stays in the result', async () => {
      const script = new Script(server.env, permanent);
      await withScript(script, async (start) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        await handle.signal(messages.skip, { reason: 'the tenant is gone' });
        expect(await handle.result()).toEqual({ outcome: 'skipped', attempts: 1, skipReason: 'the tenant is gone' });
        const { searchAttributes } = await handle.describe();
        expect(searchAttributes[messages.SEARCH_ATTRIBUTES.state] ?? []).not.toContain('escalated');
      });
    });

    it('is attempted once more when a new write fails, though not in a hot loop', async () => {
      const script = new Script(server.env, permanent, permanent, permanent, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start({ policy: SLOW_POLICY });
        await untilState(server.env, handle, 'escalated');
        const failsNow = async () =>
          failedWrite({ failedAt: new Date((await server.env.currentTimeMs()) + 1).toISOString() });
        await handle.signal(messages.failedWrites, [await failsNow()]);
        while (script.requests.length < 2) await server.env.sleep('10 minutes');
        await handle.signal(messages.failedWrites, [await failsNow()]);
        while (script.requests.length < 3) await server.env.sleep('10 minutes');
        await handle.signal(messages.failedWrites, [await failsNow()]);
        expect((await handle.result()).outcome).toBe('repaired');
        // The longest pause of the policy lies between them, far less than `retryEvery`.
        expect(script.pauses()).toEqual([360, 360, 360]);
        expect(script.escalations).toHaveLength(1);
      });
    });

    it('publishes its dead letter as soon as Kafka is back, however long that takes', async () => {
      const script = new Script(server.env, permanent);
      let refusals = 12;
      const publish = script.activities.escalate;
      script.activities.escalate = async (request) => {
        if (refusals-- > 0) throw new Error('Kafka is away');
        await publish(request);
      };
      await withScript(script, async (start) => {
        const handle = await start();
        while (script.escalations.length === 0) await server.env.sleep('10 seconds');
        expect(script.escalations[0]?.error.type).toBe('NoPermission');
        await giveUp(handle);
      });
    });
  });

  it('an attempt whose worker is stopped blames neither side, and all that were made count', async () => {
    const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE, 'equal');
    script.during = (attempt) => (attempt === 3 ? Context.current().cancelled : undefined);
    const taskQueue = `script-${randomUUID()}`;
    // Nothing of the workflow may wait for this worker once it is gone.
    const stopping = { maxCachedWorkflows: 0, shutdownGraceTime: 0 };
    const first = await workerFor(script, taskQueue, stopping);
    const handle = await first.runUntil(async () => {
      const policy = { ...SLOW_POLICY, retry: { ...POLICY.retry, initialIntervalMs: 20, maximumAttempts: 3 } };
      const started = await startKey(server.env.client, taskQueue, { policy });
      await until(() => script.requests.length === 3);
      return started;
    });
    const second = await workerFor(script, taskQueue);
    await second.runUntil(async () => {
      const { lastError, attempts, tried } = await untilState(server.env, handle, 'escalated');
      expect(lastError).toMatchObject({ type: 'WorkerShutdown', stage: null });
      expect(nextStep('WorkerShutdown')).toContain('neither side is to blame');
      expect(attempts).toBe(3);
      expect(tried).toMatchObject([{ type: 'TargetUnavailable' }, { type: 'WorkerShutdown', attempts: 2 }]);
      await giveUp(handle);
    });
  });

  it('an attempt whose worker says nothing for long is lost, and neither side is blamed', async () => {
    const script = new Script(server.env, 'large', 'equal');
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    script.during = (attempt) => (attempt === 2 ? released : undefined);
    await withScript(script, async (start) => {
      const policy = { ...SLOW_POLICY, retry: { ...SLOW_POLICY.retry, maximumAttempts: 1 } };
      const handle = await start({ policy });
      const { lastError } = await untilState(server.env, handle, 'escalated');
      expect(lastError).toEqual({
        type: 'AttemptLost',
        message: 'the worker of the attempt died, stood still or lost Temporal; neither source nor target is to blame',
        stage: null,
      });
      release();
      await giveUp(handle);
    });
  });
});
