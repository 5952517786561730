/** A signal that somebody else's workflow takes repairs nothing, and nobody hears of it. */
import { randomUUID } from 'node:crypto';
import { expect, onTestFinished, test, vi } from 'vitest';
import { watchLostBatches } from '../../src/bridge/batches/lost-batches.js';
import { createGaps, type Gaps } from '../../src/bridge/gaps.js';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import { gapReports } from '../../src/cli/status/gaps.js';
import { type Config, parseConfig } from '../../src/config.js';
import { LinkAttribute } from '../../src/temporal/link-attribute.js';
import { Notices } from '../../src/worker/notices.js';
import { OutageNotices } from '../../src/worker/outage-notices.js';
import { createSweepStart } from '../../src/worker/sweep-start.js';
import { BATCH_TYPE } from '../../workflows/batch-messages.js';
import { GAP_TYPE, gapWorkflowId } from '../../workflows/gap-messages.js';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { NOTICES_TYPE, noticesWorkflowId } from '../../workflows/notices-messages.js';
import { OUTAGE_TYPE, outageWorkflowId } from '../../workflows/outage-messages.js';
import { SWEEP_TYPE, sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { failedWrite, onStack } from '../support/workflow-bed.js';
import { bridgeBed, type LogLine, loggerInto, until } from './bridge-bed.js';

type Bed = Awaited<ReturnType<typeof bridgeBed>>;

function idOf(bed: Bed, key: string): string {
  return workflowIdFor(bed.config.links[0]!.workflowIdPrefix, Buffer.from(key));
}

/** No worker reads it. */
async function startForeign(bed: Bed, key: string, type: string, taskQueue: string): Promise<void> {
  const handle = await bed.client.workflow.start(type, { workflowId: idOf(bed, key), taskQueue });
  onTestFinished(() => handle.terminate().then(() => {}));
}

test.each([
  ['a workflow of somebody else', 'OrderWorkflow', 'orders'],
  ['a run of ours on a task queue that nobody serves any more', WORKFLOW_TYPE, 'renamed'],
])('%s under the ID of a key: a dead letter says so, and other keys go on', async (_what, type, taskQueue) => {
  const bed = await bridgeBed();
  await startForeign(bed, 'order:42', type, taskQueue);
  await bed.produce({ id: 'a', key: 'order:42' }, { id: 'b', key: 'other' }, { id: 'c', key: 'order:42' });
  const bridge = await bed.start();
  await bed.untilCommitted(3);
  expect(await bed.signalledIds('other')).toEqual([['b']]);
  expect(bridge.counters).toEqual({ received: 3, signalled: 1, deadLettered: 2 });
  const [letter] = await bed.deadLetters(2);
  const headers = Object.fromEntries(Object.entries(letter!.headers!).map(([name, value]) => [name, String(value)]));
  expect(headers).toMatchObject({
    'dlq.reason': 'workflow-id-taken',
    'dlq.stage': 'signal',
    'dlq.error.type': 'WorkflowIdTaken',
    'dlq.workflow.id': idOf(bed, 'order:42'),
  });
  for (const word of [type, taskQueue, 'namespace', 'workflowIdPrefix']) {
    expect(headers['dlq.error.message']).toContain(word);
  }
  expect(bed.warnings().join()).toContain('workflow-id-taken');
});

test('whose a run is costs no call for one that the bridge has started, and one call for any other', async () => {
  const bed = await bridgeBed();
  const asked = vi.spyOn(bed.client.workflow, 'getHandle');
  const first = await bed.start();
  await bed.produce({ key: 'k' });
  await bed.untilCommitted(1);
  await bed.produce({ key: 'k' });
  await bed.untilCommitted(2);
  expect(asked).not.toHaveBeenCalled();
  await first.stop();
  await bed.start();
  for (const offset of [3, 4, 5]) {
    await bed.produce({ key: 'k' });
    await bed.untilCommitted(offset);
  }
  expect(asked).toHaveBeenCalledTimes(1);
  expect((await bed.workflow('k')).signals).toHaveLength(5);
});

const server = onStack();

/** A link, and what those who speak of it need. */
function linkBed() {
  const link = `link-${randomUUID()}`;
  const client = server.env.client.workflow;
  const logs: LogLine[] = [];
  const logger = loggerInto(logs);
  const attribute = new LinkAttribute(logger);
  const side = (port: number) => ({ url: `redis://127.0.0.1:${port}` });
  const escalation = { webhook: { url: 'http://127.0.0.1:1/', secret: 's', allowPrivate: true } };
  const { links } = parseConfig(
    JSON.stringify({ intake: 'redis-stream', links: [{ name: link, source: side(1), target: side(2), escalation }] }),
    'the test',
    {},
  );
  const telling = { client, taskQueue: `ours-${link}`, attribute, links, logger };
  const errors = () =>
    logs.filter(({ level, msg }) => level === 50 && msg.includes(' is a workflow of type ')).map(({ msg }) => msg);
  const warnings = () => logs.filter(({ level }) => level === 40).map(({ msg }) => msg);
  /** A run of that type on a task queue of somebody else. */
  const foreign = async (type: string, workflowId: string) => {
    const handle = await client.start(type, { workflowId, taskQueue: `theirs-${link}`, args: [{ link }] });
    onTestFinished(() =>
      client
        .getHandle(workflowId)
        .terminate()
        .then(() => {}),
    );
    return handle;
  };
  const signalsOf = async (workflowId: string) => {
    const { events } = await client.getHandle(workflowId).fetchHistory();
    return events!.filter(({ workflowExecutionSignaledEventAttributes: signal }) => signal).length;
  };
  return { link, client, telling, errors, warnings, foreign, signalsOf };
}

type LinkBed = ReturnType<typeof linkBed>;
const SHARD = '10.0.0.1:6379';

/** Each resolves when the workflow of the link knows. */
const TELL = {
  async [GAP_TYPE]({ link, telling }: LinkBed) {
    const metrics = { gapOpened() {} };
    const gaps = createGaps({ ...telling, links: new Map([[link, telling.links[0]!]]), metrics });
    const gap = { id: 'i', cause: 'removed', records: 1, message: 'lost' } as const;
    await gaps.open(gap, new AbortController().signal);
  },
  async [NOTICES_TYPE]({ link, telling }: LinkBed) {
    const notices = new Notices({ ...telling, metrics: { webhookAsked() {} } });
    const error = { type: 'Contended', message: 'm', stage: 'write' } as const;
    const at = new Date().toISOString();
    const event = failedWrite({ link });
    await until(() => notices.escalated({ event, error, attempts: 1, firstFailedAt: at, lastFailedAt: at }));
  },
};

test.each([
  [GAP_TYPE, gapWorkflowId],
  [NOTICES_TYPE, noticesWorkflowId],
] as const)(
  'what is to be told to the %s of a link, where another keymend has its ID, is a line and told once that has ended',
  async (type, idFor) => {
    const bed = linkBed();
    const workflowId = idFor(bed.link);
    const theirs = await bed.foreign(type, workflowId);
    const told = TELL[type](bed);
    await until(() => expect(bed.errors()).toHaveLength(1));
    expect(bed.errors()[0]).toContain(`${workflowId} is a workflow of type ${type} on task queue theirs-${bed.link}`);
    expect(await bed.signalsOf(workflowId)).toBe(0);
    await theirs.terminate();
    await told;
    expect((await bed.client.getHandle(workflowId).describe()).taskQueue).toBe(bed.telling.taskQueue);
    expect(await bed.signalsOf(workflowId)).toBe(1);
  },
);

test('where another keymend has the ID of the gap of one link, the gaps of the others are told', async () => {
  const [taken, free] = [linkBed(), linkBed()];
  await taken.foreign(GAP_TYPE, gapWorkflowId(taken.link));
  const links = new Map([taken, free].map(({ link, telling }) => [link, telling.links[0]!]));
  const gaps = createGaps({ ...free.telling, links, metrics: { gapOpened() {} } });
  const end = new AbortController();
  const told = gaps.open({ id: 'i', cause: 'removed', records: 1, message: 'lost' }, end.signal);
  await until(async () => expect(await free.signalsOf(gapWorkflowId(free.link))).toBe(1));
  expect(await free.signalsOf(gapWorkflowId(taken.link))).toBe(0);
  end.abort();
  await told;
});

test('a link whose gap can not be told, or of which Temporal does not say what it was told, holds up no other', async () => {
  const bed = linkBed();
  const { taskQueue, logger } = bed.telling;
  const [held, unknown, told] = ['held', 'unknown', 'told'].map((name) => `${name}-${bed.link}`) as [
    string,
    string,
    string,
  ];
  const lose = async (link: string, name: string) => {
    const options = { workflowId: `${link}/${name}`, taskQueue, memo: { link } };
    await (await bed.client.start(BATCH_TYPE, options)).terminate();
  };
  for (const link of [held, unknown, told]) {
    await bed.client.start(GAP_TYPE, { workflowId: gapWorkflowId(link), taskQueue });
    onTestFinished(() =>
      bed.client
        .getHandle(gapWorkflowId(link))
        .terminate()
        .then(() => {}),
    );
    await lose(link, 'first');
  }
  const getHandle = (workflowId: string, runId?: string) => {
    if (workflowId === gapWorkflowId(unknown)) throw new Error('not now');
    return bed.client.getHandle(workflowId, runId);
  };
  const client = Object.create(bed.client, { getHandle: { value: getHandle } }) as typeof bed.client;
  const opened: string[] = [];
  const gaps: Gaps = {
    async open({ id }, signal, [link] = []) {
      opened.push(id.split(' ')[0]!);
      if (link === held) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  };
  const watch = watchLostBatches({ client, taskQueue, gaps, logger, lookEveryMs: 100 });
  onTestFinished(() => watch.stop());
  await until(() => expect(opened.toSorted()).toEqual([`${held}/first`, `${told}/first`]));
  await until(() => expect(bed.warnings().join()).toContain(`what the gap of link ${unknown} was told: not now`));
  await lose(told, 'second');
  await until(() => expect(opened).toHaveLength(3));
  expect(opened[2]).toBe(`${told}/second`);
});

test('`keymend status` says of a gap whose ID another keymend has that it is not its own', async () => {
  const bed = linkBed();
  const { taskQueue, links } = bed.telling;
  const report = async () =>
    (await gapReports(server.env.client, { links, temporal: { taskQueue } } as unknown as Config)).get(bed.link);
  expect(await report()).toBeNull();
  await bed.foreign(GAP_TYPE, gapWorkflowId(bed.link));
  expect(await report()).toMatchObject({
    gaps: [],
    problem: expect.stringContaining(`is a workflow of type gap on task queue theirs-${bed.link}`),
  });
});

test('an outage, where another keymend has its ID, is a line and not told to that', async () => {
  const bed = linkBed();
  const workflowId = outageWorkflowId(bed.link, SHARD);
  await bed.foreign(OUTAGE_TYPE, workflowId);
  const notices = new OutageNotices({ ...bed.telling, identity: 'w' });
  onTestFinished(() => notices.close());
  notices.listenerOf(bed.link).began({ shard: SHARD, since: Date.now(), reason: 'r' }, () => 1);
  await until(() => expect(bed.errors()).toEqual([expect.stringContaining(`${workflowId} is a workflow of type`)]));
  expect(await bed.signalsOf(workflowId)).toBe(0);
});

test('a sweep that a schedule asks for is left out with a warning where ours is under way, and fails where it is another’s', async () => {
  const [ours, theirs] = [linkBed(), linkBed()];
  const workflowId = sweepWorkflowId(ours.link);
  const start = createSweepStart(ours.telling);
  expect(await start(ours.link, {})).not.toBeNull();
  onTestFinished(() =>
    ours.client
      .getHandle(workflowId)
      .terminate()
      .then(() => {}),
  );
  expect(await start(ours.link, {})).toBeNull();
  expect(ours.errors()).toEqual([]);
  await theirs.foreign(SWEEP_TYPE, sweepWorkflowId(theirs.link));
  await expect(createSweepStart(theirs.telling)(theirs.link, {})).rejects.toThrow('is not compared');
  expect(theirs.errors()).toHaveLength(1);
});
