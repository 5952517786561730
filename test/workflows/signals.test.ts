/** What each signal does in each state: every cell of the table in docs/operations.md, tried. */
import { readFileSync } from 'node:fs';
import { WorkflowNotFoundError } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { ERRORS } from '../../workflows/error-types.js';
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
  type StartOptions,
  withScript,
} from '../support/workflow-bed.js';

const OPERATIONS = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const server = onStack();

const SIGNALS = ['retry', 'skip', 'cancel', 'failedWrites', 'reconcileNow'] as const;
type Signal = (typeof SIGNALS)[number];
const ENDS = ['stays', 'repaired', 'skipped', 'cancelled', 'refused', 'ignored'] as const;

/** The rows of the table by their states, and of each cell its first word. */
const TABLE = [...OPERATIONS.matchAll(/^\| `(\w+)` \| (.+) \|$/gm)]
  .map(([, state, cells]) => [state!, cells!.split(' | ').map((cell) => /^\w*/.exec(cell)![0])] as const)
  .filter(([, cells]) => cells.length === SIGNALS.length);
const CELLS = TABLE.flatMap(([state, cells]) =>
  cells.map((end, index) => [state as messages.State, SIGNALS[index]!, end] as const),
);

const HOUR_MS = 3_600_000;
const NEVER_BY_ITSELF = {
  ...POLICY,
  retry: { ...POLICY.retry, initialIntervalMs: HOUR_MS, maximumIntervalMs: HOUR_MS },
  escalation: { retryEveryMs: HOUR_MS },
};
const PERMANENT: Attempt = { fail: 'NoPermission', permanent: true };
const unknown = (failedAt: number) => failedWrite({ outcome: 'unknown', failedAt: new Date(failedAt).toISOString() });

/** How a key gets into a state. It then stays there for an hour, unless somebody does something. */
const WAYS: Record<messages.State, { attempts: Attempt[]; start?: () => StartOptions }> = {
  settling: {
    attempts: ['repaired'],
    start: () => ({ policy: { ...NEVER_BY_ITSELF, settleMs: HOUR_MS }, events: [unknown(Date.now())] }),
  },
  reconciling: { attempts: ['large', 'repaired'] },
  verifying: {
    attempts: ['repaired'],
    start: () => ({ policy: { ...NEVER_BY_ITSELF, settleMs: HOUR_MS }, events: [unknown(0)] }),
  },
  retrying: { attempts: [{ fail: 'TargetUnavailable' }] },
  waiting: { attempts: [{ defer: HOUR_MS }] },
  escalated: {
    attempts: [PERMANENT],
    start: () => ({ policy: { ...NEVER_BY_ITSELF, retry: { ...NEVER_BY_ITSELF.retry, maximumIntervalMs: 50 } } }),
  },
  done: { attempts: ['repaired'] },
  cancelled: { attempts: [PERMANENT] },
};

/** Sends it, and does not wait for what comes of it. */
async function send(signal: Signal, handle: Handle): Promise<void> {
  if (signal === 'cancel') await handle.cancel();
  else if (signal === 'skip') await handle.signal(messages.skip, { reason: 'why' });
  else if (signal === 'retry') await handle.signal(messages.retry);
  else if (signal === 'failedWrites') await handle.signal(messages.failedWrites, [unknownNow()]);
  else await handle.startUpdate(messages.reconcileNow, { args: [{}], waitForStage: 'ACCEPTED' });
}

const unknownNow = () => failedWrite({ failedAt: new Date(Date.now() + 1).toISOString() });

/** What the run comes to, as the table calls it. */
async function endOf(handle: Handle): Promise<string> {
  return handle.result().then(
    ({ outcome }) => outcome,
    (error: Error) => (error.cause instanceof CancelledFailure ? 'cancelled' : String(error)),
  );
}

describe('the table of docs/operations.md', () => {
  it('has every state and every signal, and the runbook every error type', () => {
    expect(TABLE.map(([state]) => state)).toEqual(Object.keys(WAYS));
    expect(CELLS.filter(([, , end]) => !(ENDS as readonly string[]).includes(end))).toEqual([]);
    expect([...OPERATIONS.matchAll(/^### (\w+)$/gm)].map(([, type]) => type)).toEqual(Object.keys(ERRORS));
  });

  it.each(CELLS)('a key that is %s and gets %s: %s', async (state, signal, expected) => {
    const { attempts, start: options } = WAYS[state];
    const script = new Script(server.env, ...attempts);
    let release = () => {};
    if (state === 'reconciling') {
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      script.during = async (attempt) => (attempt === 2 ? released : undefined);
    }
    await withScript(script, async (start, taskQueue) => {
      const handle = await start({ policy: NEVER_BY_ITSELF, ...options?.() });
      await reach(handle, script, state);
      const made = script.requests.length;
      if (state !== 'reconciling' && state !== 'verifying') script.attempts = ['repaired', 'equal'];
      if (state === 'done' || state === 'cancelled') {
        if (expected === 'ignored') return expect(send(signal, handle)).resolves.toBeUndefined();
        if (signal !== 'failedWrites')
          return expect(send(signal, handle)).rejects.toBeInstanceOf(WorkflowNotFoundError);
        const next = await again(handle, taskQueue);
        return expect(await endOf(next)).toBe(expected);
      }
      const sent = send(signal, handle);
      if (expected === 'stays') {
        if (signal === 'reconcileNow') sent.catch(() => {});
        else await sent;
        // The answer comes from behind the signal.
        expect((await handle.query(messages.status)).state).toBe(state);
        expect(script.requests).toHaveLength(made);
        return giveUp(handle);
      }
      await sent;
      release();
      expect(await endOf(handle)).toBe(expected);
      const letters = script.escalations.map(({ error }) => error.type);
      const left = letters.filter((type) => type === 'Cancelled').length;
      expect(left).toBe(expected === 'cancelled' && state !== 'reconciling' ? 1 : 0);
    });
  });
});

async function reach(handle: Handle, script: Script, state: messages.State): Promise<void> {
  if (state === 'done') return void (await handle.result());
  if (state === 'cancelled') {
    await handle.cancel();
    await handle.result().catch(() => {});
    return;
  }
  if (state === 'reconciling') return until(() => script.requests.length === 2);
  await until(async () => (await handle.query(messages.status)).state === state);
  // Its letter is out, so that a cancel leaves one of its own.
  if (state === 'escalated') await until(() => script.escalations.length === 1);
}

/** As the bridge does it for a write that fails when the run has ended. */
async function again({ workflowId }: Handle, taskQueue: string): Promise<Handle> {
  const key = failedWrite();
  return server.env.client.workflow.signalWithStart('reconcileKey', {
    workflowId,
    taskQueue,
    args: [{ link: 'east-to-west', key: key.key, encoding: 'utf8', policy: NEVER_BY_ITSELF, version: 3 }],
    signal: messages.failedWrites,
    signalArgs: [[key]],
  }) as unknown as Promise<Handle>;
}
