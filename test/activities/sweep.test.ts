/** The activity of a sweep, on a real Temporal, with servers that are to the page. */
import { Worker } from '@temporalio/worker';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import { createSweepActivities } from '../../activities/sweep.js';
import { TEMPORAL_COST } from '../../src/cost-model.js';
import type { LinkSides } from '../../src/engine/index.js';
import { type PageDigest, RedisFailure, type RedisPort } from '../../src/redis/index.js';
import type { sweep } from '../../workflows/sweep.js';
import { pause, progress, resume, sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { DEFAULT_OPTIONS, startLink } from '../engine/link.js';
import { eventually } from '../support/eventually.js';
import { onStack, workflowBundle } from '../support/workflow-bed.js';

const temporal = onStack();
const PAGES = 6;

const digest = (keys: readonly Buffer[]): PageDigest => ({
  digest: keys.join(),
  expiries: null,
  fieldExpiry: null,
  large: [],
  count: keys.length,
});

/** A page has one key. The source does not answer for the last pages until it is let. */
function sides() {
  const server = (place: string) => ({ place, server: place, keys: PAGES, slots: [[0, 1]], moving: [] });
  const asked: number[] = [];
  const state = { isAway: true, breaks: false, refusesFrom: PAGES };
  const port = (place: string) => ({
    place,
    connections: 1,
    keyServers: async () => [server(place)],
    shardsOf: async (keys: Buffer[]) => keys.map(() => place),
    digestKeys: async (keys: Buffer[]) => digest(keys),
    absentKeys: async () => [],
    async scanKeys(_: string, { cursor }: { cursor: string }) {
      const page = Number(cursor);
      if (page >= state.refusesFrom) return new RedisFailure('WRONGPASS', 'invalid username-password pair');
      if (page >= 4 && state.breaks) throw new Error('broken');
      if (page >= 4 && state.isAway) return new RedisFailure('CONNECTION', 'refused');
      asked.push(page);
      const keys = [Buffer.from(`key ${page}`)];
      return { cursor: `${(page + 1) % PAGES}`, keys, own: 0, digest: digest(keys) };
    },
  });
  return { source: port('source') as never as RedisPort, target: port('target') as never as RedisPort, asked, state };
}

const AWAY = { problem: expect.stringMatching(/^SourceUnavailable: /) as string };

/** Sweeps a link, if it knows it, and repairs nothing. */
const workerOf = (link: string, sides: LinkSides, { known = link, failed = [] as string[] } = {}) =>
  Worker.create({
    connection: temporal.env.nativeConnection,
    taskQueue: link,
    workflowBundle: workflowBundle(),
    // As in every worker.
    maxHeartbeatThrottleInterval: '500 milliseconds',
    activities: createSweepActivities({
      links: new Map([[known, { sides, options: DEFAULT_OPTIONS }]]),
      batchesOf: () => expect.fail('nothing is to be repaired'),
      start: () => expect.fail('no other is to be started'),
      onSwept() {},
      onFailed: (_, { type }) => failed.push(type),
    }),
  });

const start = (link: string, rate = 1_000_000) =>
  temporal.env.client.workflow.start<typeof sweep>('sweep', {
    workflowId: sweepWorkflowId(link),
    taskQueue: link,
    args: [{ link, settleMs: 50, options: { rate } }],
  });

test('a pause while a server does not answer keeps what was reached', async () => {
  const link = ulid();
  const { asked, state, ...ports } = sides();
  const worker = await workerOf(link, ports);
  await worker.runUntil(async () => {
    const handle = await start(link);
    await eventually(async () => expect(await handle.query(progress)).toMatchObject(AWAY));
    await handle.signal(pause);
    await eventually(async () => {
      expect(await handle.query(progress)).toMatchObject({ state: 'paused' });
      expect((await handle.describe()).raw.pendingActivities).toEqual([]);
    });
    state.isAway = false;
    await handle.signal(resume);
    expect(await handle.result()).toMatchObject({ outcome: 'equal', compared: PAGES });
    expect(await handle.query(progress)).toMatchObject({ state: 'done', problem: null });
  });
  // A key that was asked for twice would have been lost from what was reached.
  expect(asked).toEqual([0, 1, 2, 3, 4, 5]);
});

test('a pause between two attempts keeps what was reached', async () => {
  const link = ulid();
  const { asked, state, ...ports } = sides();
  state.breaks = true;
  const worker = await workerOf(link, ports);
  await worker.runUntil(async () => {
    const handle = await start(link);
    const pending = async () => (await handle.describe()).raw.pendingActivities ?? [];
    await eventually(async () => expect((await pending())[0]?.lastFailure?.message).toBe('broken'));
    await handle.signal(pause);
    await eventually(async () => expect(await pending()).toEqual([]));
    Object.assign(state, { isAway: false, breaks: false });
    await handle.signal(resume);
    expect(await handle.result()).toMatchObject({ outcome: 'equal', compared: PAGES });
  });
  expect(asked).toEqual([0, 1, 2, 3, 4, 5]);
});

test('a password that is no longer right is waited for, where it was right before', async () => {
  const [link, failed] = [ulid(), [] as string[]];
  const { asked, state, ...ports } = sides();
  Object.assign(state, { isAway: false, refusesFrom: 4 });
  const worker = await workerOf(link, ports, { failed });
  await worker.runUntil(async () => {
    const handle = await start(link);
    const problem = expect.stringMatching(/^NoPermission: /);
    await eventually(async () => expect(await handle.query(progress)).toMatchObject({ problem }));
    state.refusesFrom = PAGES;
    expect(await handle.result()).toMatchObject({ outcome: 'equal', compared: PAGES });
  });
  expect(asked).toEqual([0, 1, 2, 3, 4, 5]);
  expect(failed).toEqual([]);
});

test('one that was never right ends the sweep at once, and that is told', async () => {
  const [link, failed] = [ulid(), [] as string[]];
  const { state, ...ports } = sides();
  state.refusesFrom = 0;
  const worker = await workerOf(link, ports, { failed });
  await worker.runUntil(async () => {
    await expect((await start(link)).result()).rejects.toThrow();
  });
  expect(failed).toEqual(['NoPermission']);
});

test('a worker that does not know the link says so', async () => {
  const link = ulid();
  const worker = await workerOf(link, sides(), { known: 'another link' });
  await worker.runUntil(async () => {
    const handle = await start(link);
    const problem = expect.stringMatching(/^UnknownLink: link ".*" is not in the configuration/);
    await eventually(async () => expect(await handle.query(progress)).toMatchObject({ problem }));
    await handle.terminate();
  });
});

test('a sweep costs no more heartbeats than are reckoned with', async () => {
  const link = ulid();
  const own = await startLink();
  onTestFinished(() => own.stop());
  const values = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`user:${index}`, 'v']));
  await Promise.all([own.source, own.target].map(({ client }) => client.mset(values)));
  const worker = await workerOf(link, own.sides);
  await worker.runUntil(async () => {
    const handle = await start(link, 1_000);
    const times = new Set<number>();
    await eventually(async () => {
      const [activity] = (await handle.describe()).raw.pendingActivities!;
      const { seconds, nanos } = activity!.lastHeartbeatTime!;
      times.add(1_000 * Number(seconds) + nanos! / 1e6);
      expect(times.size).toBeGreaterThan(8);
    });
    await handle.cancel();
    const lastedMs = Math.max(...times) - Math.min(...times);
    const aMinute = (60_000 * (times.size - 1)) / lastedMs;
    // On a busy machine they are fewer.
    expect(aMinute).toBeLessThanOrEqual(1.2 * TEMPORAL_COST.sweep.perMinute.actions);
  });
});
