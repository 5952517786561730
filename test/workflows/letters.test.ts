/** One dead letter for each escalation: how each is named, and what an activity is told of it. */
import { activityInfo, Context } from '@temporalio/activity';
import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import type { EscalateRequest } from '../../workflows/activities.js';
import * as messages from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import {
  failedWrite,
  giveUp,
  type Handle,
  onStack,
  POLICY,
  Script,
  withScript,
  workflowBundle,
} from '../support/workflow-bed.js';

const server = onStack();
const PERMANENT = { fail: 'NoPermission', permanent: true } as const;

const latest = (handle: Handle) => server.env.client.workflow.getHandle(handle.workflowId);
/** What `signalWithStart` answers. */
const firstRunId = (handle: Handle) => (handle as Handle & { signaledRunId: string }).signaledRunId;
const ids = ({ escalations }: Script) => escalations.map(({ letter }) => letter!.id);

it('a slow retry that fails again is no new escalation, a retry that a person asks for is one', async () => {
  const script = new Script(server.env, PERMANENT);
  await withScript(script, async (start) => {
    const handle = await start({ policy: { ...POLICY, escalation: { retryEveryMs: 50 } } });
    await until(() => script.requests.length > 4);
    expect(ids(script)).toEqual([`${firstRunId(handle)}/1`]);
    await handle.signal(messages.retry);
    await until(() => script.escalations.length === 2);
    expect(ids(script)).toEqual([1, 2].map((n) => `${firstRunId(handle)}/${n}`));
    await giveUp(handle);
  });
});

it('a run that goes on for another names the letter that is not out yet in the same way, and later ones otherwise', async () => {
  const script = new Script(server.env, PERMANENT);
  script.lettersEnd = ['7'];
  const tries: { readonly letter: EscalateRequest['letter']; readonly runId: string }[] = [];
  let isAway = true;
  script.activities.escalate = async (request) => {
    tries.push({ letter: request.letter, runId: activityInfo().workflowExecution!.runId });
    const pulse = setInterval(() => Context.current().heartbeat(), 100);
    if (isAway) await Context.current().cancelled.finally(() => clearInterval(pulse));
    clearInterval(pulse);
    script.escalations.push(request);
  };
  await withScript(script, async (start) => {
    const handle = await start({ historyEventsPerRun: 40 });
    await until(() => tries.length === 1);
    const later = () => failedWrite({ failedAt: new Date().toISOString() });
    for (let i = 0; i < 40; i++) await handle.signal(messages.failedWrites, [later()]);
    const ofNext = () => tries.find(({ runId }) => runId !== firstRunId(handle));
    await until(() => ofNext() !== undefined);
    isAway = false;
    const id = `${firstRunId(handle)}/1`;
    expect(tries[0]!.letter).toEqual({ id, behind: ['7'] });
    expect(ofNext()!.letter).toEqual({ id, behind: ['7'], mayBeThere: true });
    await latest(handle).signal(messages.retry);
    await until(() => ids(script).some((one) => one.endsWith('/1') && one !== id));
    await giveUp(latest(handle));
  });
});

it('a cancelled key has a letter of its own', async () => {
  const script = new Script(server.env, PERMANENT);
  await withScript(script, async (start) => {
    const handle = await start();
    await until(() => script.escalations.length === 1);
    await handle.cancel();
    await handle.result().catch(() => {});
    expect(ids(script)).toEqual([1, 2].map((n) => `${firstRunId(handle)}/${n}`));
    expect(script.escalations[1]!.error.type).toBe('Cancelled');
  });
});

it('what was found out at the escalation is in the status, and the history replays', async () => {
  const script = new Script(server.env, PERMANENT);
  script.lettersEnd = ['7'];
  const side = { type: 'string', size: 3, expiresAt: null };
  script.sides = { at: '2026-11-20T23:00:00.000Z', source: side, target: null };
  await withScript(script, async (start) => {
    const handle = await start({ policy: { ...POLICY, escalation: { retryEveryMs: 100 } } });
    await until(() => script.requests.length > 2);
    const { sides, tried } = await handle.query(messages.status);
    expect(sides).toEqual(script.sides);
    expect(tried).toEqual([
      { type: 'NoPermission', attempts: expect.any(Number), from: expect.any(String), to: expect.any(String) },
    ]);
    await handle.signal(messages.retry);
    await until(() => script.escalations.length === 2);
    await giveUp(handle);
    expect(await handle.query(messages.status)).toMatchObject({ state: 'done', sides: null, tried: [] });
    const history = await latest(handle).fetchHistory();
    await Worker.runReplayHistory({ workflowBundle: workflowBundle() }, history);
  });
});
