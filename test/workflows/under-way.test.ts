/** A durable attempt that is at work when it is interrupted may write until it has ended. */
import { Context } from '@temporalio/activity';
import { describe, expect, it } from 'vitest';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import {
  type Attempt,
  failedWrite,
  giveUp,
  type Handle,
  onStack,
  POLICY,
  Script,
  startKey,
  UNAVAILABLE,
  withScript,
  workerFor,
} from '../support/workflow-bed.js';

const server = onStack();

/**
 * The second attempt, a durable one, is interrupted by `interrupt`, and then ends as scripted, or
 * as one that was cancelled. Answers with the most that were under way at once.
 */
async function interrupted(script: Script, end: 'scripted' | 'cancelled', interrupt: (handle: Handle) => unknown) {
  const underWay = { now: 0, most: 0 };
  const { reconcile } = script.activities;
  script.activities.reconcile = async (request) => {
    underWay.now += 1;
    underWay.most = Math.max(underWay.most, underWay.now);
    return reconcile(request).finally(() => {
      underWay.now -= 1;
    });
  };
  const taskQueue = `script-under-way-${Date.now()}`;
  const worker = await workerFor(script, taskQueue, { maxHeartbeatThrottleInterval: '100ms' });
  return worker.runUntil(async () => {
    const started = startKey(server.env.client, taskQueue);
    script.during = async (attempt) => {
      if (attempt !== 2) return;
      const handle = await started;
      const context = Context.current();
      const beating = setInterval(() => context.heartbeat(), 100);
      await interrupt(handle);
      const cancelled = await context.cancelled.catch((reason: unknown) => reason);
      clearInterval(beating);
      // Long enough for whoever would not wait: two tasks of the workflow pass.
      for (let task = 0; task < 2; task++) await handle.query(messages.status);
      if (end === 'cancelled') throw cancelled;
    };
    const result = await (await started).result().catch((error: Error) => error.constructor.name);
    return { result, attempts: script.requests.length, most: underWay.most };
  });
}

describe('an attempt that is under way is awaited', () => {
  const retry = (handle: Handle) => handle.signal(messages.retry);

  it.each<[string, Attempt, 'scripted' | 'cancelled', object]>([
    // What it had written nobody knows: the key is looked at once more.
    ['it is cancelled', 'equal', 'cancelled', { result: { outcome: 'equal' }, attempts: 4 }],
    ['it fails at last', UNAVAILABLE, 'scripted', { result: { outcome: 'equal', attempts: 3 }, attempts: 3 }],
    [
      'it repairs the key at last',
      'repaired',
      'scripted',
      { result: { outcome: 'repaired', attempts: 2 }, attempts: 2 },
    ],
  ])('by who wants another one at once: %s', async (_title, second, end, expected) => {
    const script = new Script(server.env, UNAVAILABLE, second, 'equal');
    const { most, ...rest } = await interrupted(script, end, retry);
    expect(rest).toMatchObject(expected);
    expect(most).toBe(1);
  });

  it('and has it written at last, the key counts as repaired', async () => {
    const script = new Script(server.env, UNAVAILABLE, { fail: 'TargetUnavailable', wrote: true }, 'equal');
    const { result } = await interrupted(script, 'scripted', retry);
    expect(result).toMatchObject({ outcome: 'repaired' });
  });

  it('by a skip, which then finds nothing that still writes', async () => {
    const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE);
    const ended = await interrupted(script, 'scripted', (handle) => handle.signal(messages.skip, { reason: 'why' }));
    expect(ended).toEqual({ result: { outcome: 'skipped', skipReason: 'why', attempts: 2 }, attempts: 2, most: 1 });
  });

  it('by a cancel of the workflow', async () => {
    const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE);
    const ended = await interrupted(script, 'scripted', (handle) => handle.cancel());
    expect(ended).toEqual({ result: 'WorkflowFailedError', attempts: 2, most: 1 });
    expect(script.escalations).toHaveLength(1);
  });
});

it('a write that fails after the cancel, while an attempt is still under way, gets a run of its own', async () => {
  const script = new Script(server.env, UNAVAILABLE, UNAVAILABLE, 'repaired', 'equal');
  await interrupted(script, 'cancelled', async (handle) => {
    await handle.cancel();
    await until(async () =>
      (await handle.fetchHistory()).events!.some((event) => event.activityTaskCancelRequestedEventAttributes),
    );
    await handle.signal(messages.failedWrites, [failedWrite({ command: 'DEL' })]);
  });
  // The fourth because nobody knows what the cancelled one has written.
  expect(script.requests).toHaveLength(4);
  expect(script.escalations.map(({ event }) => event.command)).toEqual(['SET']);
});

/** The server that skips time does not tell of the end of an attempt that was to be cancelled. */
describe('a skip while an attempt is under way', () => {
  /** Sent by the attempt `during`, and behind it a further failed write. */
  function skipping(script: Script, started: Promise<Handle>, during: number): void {
    script.during = async (attempt) => {
      if (attempt !== during) return;
      const handle = await started;
      await handle.signal(messages.skip, { reason: 'the old one' });
      await handle.signal(messages.failedWrites, [failedWrite({ command: 'DEL' })]);
    };
  }

  it('does not touch what fails after it, also when the attempt was just repairing the key', async () => {
    const script = new Script(server.env, UNAVAILABLE, 'repaired', 'equal');
    await withScript(script, async (start) => {
      const started = start({ events: [failedWrite({ outcome: 'unknown' })] });
      skipping(script, started, 2);
      await (await started).result();
      expect(script.requests.at(-1)?.request.hint.otherCommands).toEqual(['DEL']);
    });
  });

  it('leaves what fails after it all attempts of the policy', async () => {
    const script = new Script(server.env, UNAVAILABLE);
    const policy = { ...POLICY, retry: { ...POLICY.retry, maximumAttempts: 4, initialIntervalMs: 200 } };
    await withScript(script, async (start) => {
      const started = start({ policy });
      skipping(script, started, 3);
      await until(() => script.escalations.length === 1);
      const handle = await started;
      // The first one of the old write and all of the new one; of its others not all are counted.
      const { attempts, state } = await handle.query(messages.status);
      expect(state).toBe('escalated');
      expect(attempts).toBeGreaterThanOrEqual(1 + 4);
      expect(script.requests.slice(3).map(({ isLocal }) => isLocal)).toEqual([true, false, false, false]);
      await giveUp(handle);
    });
  });
});
