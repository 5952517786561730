/** The workflow `gap`, on a real Temporal. */
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { ulid } from 'ulid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  acknowledge,
  type Gap,
  type GapStatus,
  gapWorkflowId,
  lost,
  status,
  sweeping,
} from '../../workflows/gap-messages.js';
import { askingAgain } from '../support/lost-queries.js';
import { stack } from '../support/services.js';
import { shownOf, workflowBundle } from '../support/workflow-bed.js';

const { address } = stack().temporal;
let connection: Connection;
let native: NativeConnection;
let client: Client;
beforeAll(async () => {
  connection = await Connection.connect({ address });
  native = await NativeConnection.connect({ address });
  client = new Client({ connection, interceptors: { workflow: [askingAgain(() => connection)] } });
});
afterAll(async () => {
  await connection?.close();
  await native?.close();
});

const gapOf = (id: string, more: Partial<Gap> = {}): Gap => ({
  id,
  cause: 'removed',
  records: 2,
  message: `*${id}* is <lost>`,
  noticedAt: '2026-11-20T23:00:00.000Z',
  ...more,
});

/** A link of its own with these gaps. Its worker runs while `work` does. */
async function withGaps(gaps: Gap[], work: (handle: ReturnType<Client['workflow']['getHandle']>) => Promise<void>) {
  const link = ulid();
  const taskQueue = `gap-${link}`;
  const start = (signalArgs: [Gap[]]) =>
    client.workflow.signalWithStart('gap', {
      workflowId: gapWorkflowId(link),
      taskQueue,
      args: [{ link }],
      signal: lost,
      signalArgs,
    });
  await start([gaps]);
  const worker = await Worker.create({ connection: native, taskQueue, workflowBundle: workflowBundle() });
  await worker.runUntil(async () => {
    const handle = client.workflow.getHandle(gapWorkflowId(link));
    await work(handle);
    await handle.terminate().catch(() => {});
  });
}

test('each gap counts once, the first hundred are named, and the sum is unknown when one of them is', async () => {
  const gaps = Array.from({ length: 120 }, (_, index) => gapOf(`gap ${index}`));
  await withGaps([...gaps, ...gaps.slice(0, 100)], async (handle) => {
    const seen = await handle.query<GapStatus>(status);
    expect(seen).toMatchObject({ state: 'open', more: 20, records: 240, reason: null });
    expect(seen.gaps.map(({ id }) => id)).toEqual(gaps.slice(0, 100).map(({ id }) => id));
    const lines = (await shownOf(handle)).split('\n');
    expect(lines.slice(0, 5)).toEqual([
      `**open** · link \`${seen.link}\``,
      '',
      expect.stringMatching(/^Failed writes are lost, at most 240: keys of this link may differ/),
      '',
      `- ${gaps[0]!.noticedAt}: \\*gap 0\\* is \\<lost\\>`,
    ]);
    expect(lines.slice(-3)).toEqual(['- and 20 more', '', expect.stringContaining('**Next step:** `keymend sweep`')]);
    await handle.signal(lost, [gapOf('of unknown size', { records: null })]);
    expect(await handle.query<GapStatus>(status)).toMatchObject({ more: 21, records: null });
  });
});

test.each([[null], ['x'], [{}], [[null, 5, { id: 'only' }]], [[{ ...gapOf('a'), message: 5 }]]])(
  'what can not be read of what is lost is a gap of unknown size: %j',
  async (told) => {
    await withGaps([gapOf('readable')], async (handle) => {
      await handle.signal(lost, told as Gap[]);
      const seen = await handle.query<GapStatus>(status);
      expect(seen).toMatchObject({ state: 'open', records: null });
      const unread = Array.isArray(told) ? told.length : 1;
      expect(seen.gaps.map(({ cause }) => cause)).toEqual(['removed', ...Array(unread).fill('unreadable')]);
      await handle.signal(acknowledge, null as never);
      await handle.signal(acknowledge, { reason: 5 } as never);
      expect(await handle.query<GapStatus>(status)).toMatchObject({ state: 'open' });
      await handle.signal(acknowledge, { reason: 'compared' });
      expect(await handle.result()).toMatchObject({ state: 'acknowledged' });
    });
  },
);

test('what is lost after somebody’s word stays open', async () => {
  const link = ulid();
  const taskQueue = `gap-${link}`;
  const handle = await client.workflow.signalWithStart('gap', {
    workflowId: gapWorkflowId(link),
    taskQueue,
    args: [{ link }],
    signal: lost,
    signalArgs: [[gapOf('seen')]],
  });
  // All three before a worker looks, hence in one task.
  await handle.signal(acknowledge, { reason: 'compared' });
  await handle.signal(lost, [gapOf('not seen')]);
  const worker = await Worker.create({ connection: native, taskQueue, workflowBundle: workflowBundle() });
  await worker.runUntil(async () => {
    const seen = (await handle.query(status)) as GapStatus;
    expect(seen).toMatchObject({ state: 'open', records: 2, gaps: [{ id: 'not seen' }] });
    await handle.signal(acknowledge, { reason: 'compared again' });
    expect(await handle.result()).toMatchObject({ state: 'acknowledged', reason: 'compared again' });
  });
});

test('is closed by a sweep of its own keymend, and not by one of another whose link has the same name', async () => {
  await withGaps([gapOf('lost')], async (handle) => {
    const { taskQueue } = await handle.describe();
    await handle.signal(sweeping, { sweepId: 'theirs', taskQueue: 'of others' });
    await handle.signal(acknowledge, { reason: 'equal', sweepId: 'theirs' });
    expect(await handle.query<GapStatus>(status)).toMatchObject({ state: 'open' });
    await handle.signal(sweeping, { sweepId: 'ours', taskQueue });
    await handle.signal(acknowledge, { reason: 'equal', sweepId: 'ours' });
    expect(await handle.result()).toMatchObject({ state: 'acknowledged', reason: 'equal' });
    expect(await shownOf(handle)).toMatch(/^\*\*acknowledged\*\* .*\nAcknowledged: equal$/s);
  });
});

test('what is told once more takes no right from a sweep that began behind it, and what is new does', async () => {
  await withGaps([gapOf('lost')], async (handle) => {
    await handle.signal(sweeping, { sweepId: 'first' });
    await handle.signal(lost, [gapOf('new')]);
    await handle.signal(acknowledge, { reason: 'equal', sweepId: 'first' });
    await handle.signal(sweeping, { sweepId: 'second' });
    await handle.signal(lost, [gapOf('new'), gapOf('lost')]);
    expect(await handle.query<GapStatus>(status)).toMatchObject({ state: 'open', records: 4 });
    await handle.signal(acknowledge, { reason: 'equal', sweepId: 'second' });
    expect(await handle.result()).toMatchObject({ state: 'acknowledged', records: 4 });
  });
});

test('one that is not named, for there are many, is known as well when it is told once more', async () => {
  const gaps = Array.from({ length: 101 }, (_, index) => gapOf(`gap ${index}`));
  await withGaps(gaps, async (handle) => {
    await handle.signal(sweeping, { sweepId: 'first' });
    await handle.signal(lost, gaps.slice(100));
    await handle.signal(acknowledge, { reason: 'equal', sweepId: 'first' });
    expect(await handle.result()).toMatchObject({ state: 'acknowledged', more: 1, records: 202 });
    const history = await client.workflow.getHandle(handle.workflowId).fetchHistory();
    await Worker.runReplayHistory({ workflowBundle: workflowBundle() }, history);
  });
});
