import { WithStartWorkflowOperation, WorkflowUpdateFailedError } from '@temporalio/client';
import { describe, expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import type { reconcileKey } from '../../workflows/reconcile-key.js';
import {
  describeTimeSkipping,
  failedWrite,
  giveUp,
  type Handle,
  POLICY,
  Script,
  SLOW_POLICY,
  UNAVAILABLE,
  untilState,
  withScript,
} from '../support/workflow-bed.js';

await describeTimeSkipping('reconcileKey: messages', (server) => {
  const PERMANENT = { fail: 'NoPermission', permanent: true } as const;

  describe('failed writes of one key', () => {
    it('cost one attempt, however many came together', async () => {
      const script = new Script(server.env, 'repaired');
      await withScript(script, async (start) => {
        const events = Array.from({ length: 500 }, (_, i) => failedWrite({ command: 'SADD', members: [`m${i}`] }));
        const handle = await start({ events });
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
        expect(script.requests[0]?.request.hint.members.utf8).toHaveLength(500);
      });
    });

    it('that were delivered twice are known by their id', async () => {
      const script = new Script(server.env, UNAVAILABLE, 'repaired');
      const event = failedWrite();
      let handle: Handle;
      script.during = async (attempt) => {
        if (attempt === 2) await handle.signal(messages.failedWrites, [event, event]);
      };
      await withScript(script, async (start) => {
        handle = await start({ events: [event, event] });
        await handle.result();
        expect(script.requests).toHaveLength(2);
        expect((await handle.query(messages.status)).pending).toBe(0);
      });
    });

    it.each([
      ['in other case', { key: 'USER:42' }],
      ['as base64', { key: Buffer.from('USER:42').toString('base64'), encoding: 'base64' as const }],
    ])('are no business of it when they are of another key, %s: each becomes a dead letter', async (_how, other) => {
      const script = new Script(server.env, 'repaired', 'equal');
      await withScript(script, async (start) => {
        const mine = { key: Buffer.from('user:42').toString('base64'), encoding: 'base64', command: 'DEL' } as const;
        const misled = failedWrite(other);
        const handle = await start({ events: [failedWrite(), misled, failedWrite(mine)] });
        expect(await handle.result()).toEqual({ outcome: 'repaired', attempts: 1 });
        expect(script.requests).toMatchObject([{ request: { hint: { otherCommands: ['SET', 'DEL'] } } }]);
        expect(script.escalations).toMatchObject([
          { event: misled, error: { type: 'WorkflowIdTaken', stage: 'signal' } },
        ]);
      });
    });

    it('that come while an attempt is at work get an attempt of their own', async () => {
      const script = new Script(server.env, 'repaired', 'equal');
      let handle: Handle;
      script.during = async (attempt) => {
        if (attempt === 1) await handle.signal(messages.failedWrites, [failedWrite({ command: 'DEL' })]);
      };
      await withScript(script, async (start) => {
        const started = start();
        // The attempt must not begin before the test knows the handle.
        const during = script.during;
        script.during = async (attempt) => {
          handle = await started;
          await during(attempt);
        };
        await (await started).result();
        // The server refused the completion, so the whole workflow task ran once more, now with
        // both writes.
        expect(script.requests[0]?.request.hint.otherCommands).toEqual(['SET']);
        expect(script.requests.at(-1)?.request.hint.otherCommands).toContain('DEL');
      });
    });

    it.each([
      ['no record at all', null],
      ['a record that says nothing of its write', { nonsense: true }],
    ])(
      'that can not be read are taken as writes of the whole key instead of being dropped: %s',
      async (_what, unreadable) => {
        const script = new Script(server.env, UNAVAILABLE);
        await withScript(script, async (start) => {
          // One member is known to differ: only the one that can't be read asks for more than that.
          const events = [failedWrite({ command: 'SADD', members: ['a'] }), unreadable as never];
          const handle = await start({ events, policy: { ...POLICY, verify: 'never' } });
          expect(await untilState(server.env, handle, 'escalated')).toMatchObject({ pending: 2 });
          expect(script.requests[0]?.request.hint).toMatchObject({ whole: true });
          await giveUp(handle);
        });
      },
    );
  });

  describe('retry', () => {
    it.each([
      ['one that failed', UNAVAILABLE],
      ['one that repaired', 'repaired'],
    ] as const)('with allowDelete vouches for one attempt: not for those behind %s', async (_what, first) => {
      const script = new Script(server.env, { fail: 'SourceSuspicious', permanent: true }, first, 'equal');
      await withScript(script, async (start) => {
        const handle = await start({ policy: { ...POLICY, verify: 'always' } });
        await untilState(server.env, handle, 'escalated');
        await handle.signal(messages.retry, { allowDelete: true });
        await handle.result();
        const [before, vouched, ...after] = script.requests.map(({ request }) => request.allowDelete);
        expect([before, vouched]).toEqual([false, true]);
        expect(after).not.toHaveLength(0);
        expect(after).not.toContain(true);
      });
    });

    it.each([
      ['still within its minute', 1_000, true],
      ['an hour later', 3_600_000, false],
    ])('with allowDelete vouches for an attempt that the budget defers: %s', async (_when, defer, isVouched) => {
      const script = new Script(server.env, { fail: 'SourceSuspicious', permanent: true }, { defer }, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        await handle.signal(messages.retry, { allowDelete: true });
        await handle.result();
        expect(script.requests.map(({ request }) => request.allowDelete)).toEqual([false, true, isVouched]);
      });
    });

    it.each([
      ['comes in time for its `before`', (now: number) => new Date(now + 60_000).toISOString(), true],
      ['comes too late for its `before`', (now: number) => new Date(now - 1).toISOString(), false],
      ['has a `before` that can not be read', () => 'soon', false],
    ])('with an allowDelete that %s', async (_when, beforeAt, isVouched) => {
      const script = new Script(server.env, { fail: 'SourceSuspicious', permanent: true }, 'repaired');
      await withScript(script, async (start) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        const before = beforeAt(await server.env.currentTimeMs());
        await handle.signal(messages.retry, { allowDelete: true, before });
        await handle.result();
        expect(script.requests.map(({ request }) => request.allowDelete)).toEqual([false, isVouched]);
      });
    });

    it('ends the pause between two attempts', async () => {
      const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE, 'repaired', 'equal');
      const policy = {
        ...POLICY,
        retry: { ...POLICY.retry, initialIntervalMs: 3_600_000, maximumIntervalMs: 3_600_000 },
      };
      await withScript(script, async (start) => {
        const handle = await start({ policy });
        await untilState(server.env, handle, 'retrying');
        while (script.requests.length < 2) await server.env.sleep(10);
        await handle.signal(messages.retry);
        await handle.result();
        // The last because nobody knows what the one had written behind which the pause was.
        expect(script.requests).toHaveLength(4);
        expect(script.pauses()[1]).toBeLessThan(60);
      });
    });

    it('does no harm while nothing is wrong', async () => {
      const script = new Script(server.env, 'repaired', 'equal');
      await withScript(script, async (start) => {
        const policy = { ...POLICY, settleMs: 60_000 };
        const handle = await start({ policy, events: [failedWrite({ outcome: 'unknown', failedAt: await now() })] });
        await untilState(server.env, handle, 'settling');
        await handle.signal(messages.retry);
        expect((await handle.result()).outcome).toBe('repaired');
      });
    });
  });

  describe('skip', () => {
    it('ends a key that waits to settle', async () => {
      const script = new Script(server.env, 'repaired');
      await withScript(script, async (start) => {
        const policy = { ...POLICY, settleMs: 3_600_000 };
        const handle = await start({ policy, events: [failedWrite({ outcome: 'unknown', failedAt: await now() })] });
        await untilState(server.env, handle, 'settling');
        await handle.signal(messages.skip, { reason: 'test data' });
        expect(await handle.result()).toEqual({ outcome: 'skipped', attempts: 0, skipReason: 'test data' });
        expect(script.requests).toHaveLength(0);
      });
    });

    it('ends a key that is being retried', async () => {
      const script = new Script(server.env, UNAVAILABLE);
      await withScript(script, async (start) => {
        const handle = await start({ policy: SLOW_POLICY });
        await untilState(server.env, handle, 'retrying');
        await handle.signal(messages.skip, { reason: 'test data' });
        expect((await handle.result()).outcome).toBe('skipped');
      });
    });

    it('covers what failed until it came, whether or not that was attempted yet', async () => {
      const script = new Script(server.env, PERMANENT);
      await withScript(script, async (start) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        await handle.signal(messages.failedWrites, [failedWrite({ command: 'DEL' })]);
        await handle.signal(messages.skip, { reason: 'both' });
        await handle.result();
        expect(await handle.query(messages.status)).toMatchObject({ state: 'done', pending: 0 });
        expect(script.requests).toHaveLength(1);
      });
    });

    it('does not touch what fails after it', async () => {
      const script = new Script(server.env, PERMANENT);
      await withScript(script, async (start, taskQueue) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        script.attempts = ['repaired'];
        await handle.signal(messages.skip, { reason: 'the old one' });
        // As the bridge does it: a new workflow, should the old one have ended by now.
        const later = await server.env.client.workflow.signalWithStart(messages.WORKFLOW_TYPE, {
          workflowId: handle.workflowId,
          taskQueue,
          args: [{ link: 'east-to-west', key: 'user:42', policy: POLICY }],
          signal: messages.failedWrites,
          signalArgs: [[failedWrite({ command: 'DEL' })]],
        });
        await later.result();
        expect(script.requests.at(-1)?.request.hint.otherCommands).toEqual(['DEL']);
      });
    });

    it('without a reason is accepted and says so', async () => {
      const script = new Script(server.env, PERMANENT);
      await withScript(script, async (start) => {
        const handle = await start();
        await handle.signal('skip');
        expect((await handle.result()).skipReason).toBe('no reason given');
      });
    });
  });

  describe('reconcileNow', () => {
    it('starts the workflow when there is none and answers with the outcome', async () => {
      const script = new Script(server.env, 'repaired', 'equal');
      await withScript(script, async (_start, taskQueue) => {
        const operation = new WithStartWorkflowOperation<typeof reconcileKey>(messages.WORKFLOW_TYPE, {
          workflowId: `now-${taskQueue}`,
          taskQueue,
          workflowIdConflictPolicy: 'USE_EXISTING',
          args: [{ link: 'east-to-west', key: 'user:42', encoding: 'utf8', policy: { ...POLICY, verify: 'never' } }],
        });
        const answer = await server.env.client.workflow.executeUpdateWithStart(messages.reconcileNow, {
          args: [{}],
          startWorkflowOperation: operation,
        });
        expect(answer).toEqual({ outcome: 'repaired', attempts: 1 });
        await (await operation.workflowHandle()).result();
        expect(script.requests).toHaveLength(1);
      });
    });

    it('makes a retrying key try at once', async () => {
      const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE, 'repaired', 'equal');
      const policy = {
        ...POLICY,
        retry: { ...POLICY.retry, initialIntervalMs: 3_600_000, maximumIntervalMs: 3_600_000 },
      };
      await withScript(script, async (start) => {
        const handle = await start({ policy });
        while (script.requests.length < 2) await server.env.sleep(10);
        expect((await handle.executeUpdate(messages.reconcileNow, { args: [{}] })).outcome).toBe('repaired');
        await handle.result();
      });
    });

    it('attempts an escalated key once and fails with the type of its error', async () => {
      // A second failure that, outside of an escalation, would be tried again.
      const script = new Script(server.env, PERMANENT, UNAVAILABLE);
      await withScript(script, async (start) => {
        const handle = await start();
        await untilState(server.env, handle, 'escalated');
        const failure = await handle
          .executeUpdate(messages.reconcileNow, { args: [{}] })
          .catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(WorkflowUpdateFailedError);
        expect((failure as WorkflowUpdateFailedError).cause).toMatchObject({ type: 'TargetUnavailable' });
        expect(script.requests).toHaveLength(2);
        expect((await handle.query(messages.status)).state).toBe('escalated');
        await giveUp(handle);
      });
    });
  });

  async function now(): Promise<string> {
    return new Date(await server.env.currentTimeMs()).toISOString();
  }
});
