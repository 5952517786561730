/**
 * What follows a run that did not finish is of the whole key: nobody knows what that had to do.
 */
import {
  Client,
  Connection,
  type WorkflowClient,
  type WorkflowExecutionInfo,
  type WorkflowHandle,
} from '@temporalio/client';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { watchUnfinishedRuns } from '../../src/bridge/runs/unfinished-runs.js';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { stack } from '../support/services.js';
import { bridgeBed, gate, LINK, type LogLine, loggerInto, until } from './bridge-bed.js';

type Bed = Awaited<ReturnType<typeof bridgeBed>>;

function handleOf(bed: Bed, key: string): WorkflowHandle {
  return bed.client.workflow.getHandle(workflowIdFor(bed.config.links[0]!.workflowIdPrefix, Buffer.from(key)));
}

const hset = (id: string, key: string, more: Partial<FailedWrite> = {}): Partial<FailedWrite> => ({
  id,
  key,
  command: 'HSET',
  members: [id],
  ...more,
});
const isWhole = ({ command, members, idempotent }: FailedWrite) =>
  command === undefined && members === undefined && idempotent === undefined;

async function untilListed(bed: Bed, key: string): Promise<void> {
  const query = `WorkflowId = "${handleOf(bed, key).workflowId}" AND ExecutionStatus != "Running"`;
  await until(async () => expect((await bed.client.workflow.count(query)).count).toBe(1));
}

/**
 * The list has nothing until it is shown.
 * @param onListed of each run that was told of, with those behind it
 * @returns shows it
 */
function hideList(workflow: WorkflowClient, onListed: (run: WorkflowExecutionInfo) => void = () => {}): () => void {
  const list = workflow.list.bind(workflow);
  let isHidden = true;
  vi.spyOn(workflow, 'list').mockImplementation(
    (options) =>
      ({
        async *[Symbol.asyncIterator]() {
          const told: WorkflowExecutionInfo[] = [];
          for await (const run of list(options)) {
            if (isHidden) continue;
            told.push(run);
            yield run;
          }
          for (const run of told) onListed(run);
        },
      }) as never,
  );
  return () => {
    isHidden = false;
  };
}

test('a run that was terminated long ago, before the bridge began: the next write is of the whole key, another key is not', async () => {
  const bed = await bridgeBed();
  const first = await bed.start();
  await bed.produce(hset('f1', 'k'));
  await bed.untilCommitted(1);
  await first.stop();
  await handleOf(bed, 'k').terminate();
  await untilListed(bed, 'k');
  await bed.start();
  await bed.produce(hset('f2', 'k'), hset('f3', 'other'));
  await bed.untilCommitted(3);
  const told = async (key: string) => (await bed.workflow(key)).signals.flat();
  expect((await told('k')).map(isWhole)).toEqual([true]);
  expect((await told('other')).map(isWhole)).toEqual([false]);
});

test('a run that ends while the list does not have it yet: what was told meanwhile is told again, of the whole key', async () => {
  const bed = await bridgeBed();
  await bed.start();
  const keys = Array.from({ length: 10 }, (_, index) => `k${index}`);
  await bed.produce(...keys.map((key) => hset('f1', key)));
  await bed.untilCommitted(10);
  await Promise.all(keys.map((key) => handleOf(bed, key).terminate()));
  await bed.produce(...keys.map((key) => hset('f2', key)));
  await bed.untilCommitted(20);
  for (const key of keys) {
    await until(async () => {
      const events = (await bed.workflow(key)).signals.flat();
      expect(events.some(isWhole)).toBe(true);
      expect(events.map(({ members }) => members?.[0])).not.toContain('f1');
    });
  }
});

test('the same in a surge: keys that a batch was told a part of are told again, each by itself', async () => {
  const bed = await bridgeBed({ surge: { enter: 10, leave: 1 } });
  const connection = await Connection.connect({ address: stack().temporal.address });
  onTestFinished(() => connection.close());
  const { workflow } = new Client({ connection });
  const show = hideList(workflow);
  await bed.start({ client: workflow });
  const keys = Array.from({ length: 10 }, (_, index) => `k${index}`);
  await bed.produce(...keys.slice(0, 5).map((key) => hset('f1', key)));
  await bed.untilCommitted(5);
  await bed.produce(...keys.slice(5).map((key) => hset('f1', key)));
  await bed.untilCommitted(10);
  await Promise.all(keys.map((key) => handleOf(bed, key).terminate()));
  await bed.produce(...keys.map((key) => hset('f2', key)));
  await bed.untilCommitted(20);
  const batch = bed.client.workflow.getHandle(`keymend/batch/${LINK}/${bed.config.kafka.topic}/0/10`);
  expect((await batch.describe()).status.name).toBe('RUNNING');
  show();
  for (const key of keys) {
    await until(async () => expect((await bed.workflow(key)).signals.flat().map(isWhole)).toEqual([true]));
  }
});

test('a run that nothing has followed is left alone', async () => {
  const bed = await bridgeBed();
  await bed.start();
  await bed.produce(hset('f1', 'alone'), hset('f1', 'followed'));
  await bed.untilCommitted(2);
  await Promise.all(['alone', 'followed'].map((key) => handleOf(bed, key).terminate()));
  await bed.produce(hset('f2', 'followed'));
  await until(async () => expect((await bed.workflow('followed')).signals.flat().some(isWhole)).toBe(true));
  expect((await handleOf(bed, 'alone').describe()).status.name).toBe('TERMINATED');
});

test('a run that had become another one before it was terminated is followed by nothing of its own past', async () => {
  const bed = await bridgeBed();
  const { workflow } = bed.client;
  const { workflowId } = handleOf(bed, 'k');
  const telling: string[] = [];
  const closedAt = Date.now();
  const listed = (run: string) => [{ workflowId, runId: run, closeTime: new Date(closedAt) }];
  let list: readonly object[] = [];
  vi.spyOn(workflow, 'list').mockImplementation(
    () =>
      ({
        async *[Symbol.asyncIterator]() {
          yield* list;
        },
      }) as never,
  );
  onTestFinished(() => void vi.restoreAllMocks());
  const watch = await watchUnfinishedRuns(workflow, pino({ level: 'silent' }));
  onTestFinished(() => watch.stop());
  const tell = (runId: string) =>
    watch.told([workflowId], {
      runId,
      sentAt: performance.now(),
      isWhole: true,
      again: async (after) => telling.push(after),
    });

  vi.spyOn(Date, 'now').mockReturnValue(closedAt - 5 * 60_000);
  tell('first');
  vi.mocked(Date.now).mockRestore();
  list = listed('second');
  await until(() => expect(watch.includes(workflowId)).toBe(true));
  list = [...listed('second'), { workflowId: 'other', runId: 'x', closeTime: new Date() }];
  await until(() => expect(watch.includes('other')).toBe(true));
  expect(telling).toEqual([]);
  expect(watch.includes(workflowId)).toBe(true);
  tell('third');
  expect(watch.includes(workflowId)).toBe(false);
});

test('a part that was taken without an answer before the list had the run: the next attempt is heeded by who took it', async () => {
  const bed = await bridgeBed();
  const connection = await Connection.connect({ address: stack().temporal.address });
  onTestFinished(() => connection.close());
  const { workflow } = new Client({ connection });
  const listed = gate();
  const show = hideList(workflow, ({ workflowId }) => {
    if (workflowId === handleOf(bed, 'k').workflowId) listed.open();
  });
  await bed.start({ client: workflow });
  await bed.produce(hset('f1', 'k'));
  await bed.untilCommitted(1);
  await handleOf(bed, 'k').terminate();
  const { workflowService } = connection;
  const send = workflowService.signalWithStartWorkflowExecution.bind(workflowService);
  vi.spyOn(workflowService, 'signalWithStartWorkflowExecution').mockImplementationOnce((async (request: never) => {
    await send(request);
    show();
    await listed.opened;
    throw Object.assign(new Error('the answer is lost'), { code: 4, details: '', metadata: {} });
  }) as never);
  await bed.produce(hset('f2', 'k'));
  await bed.untilCommitted(2);
  const [first, second, ...more] = (await bed.workflow('k')).signals.flat();
  // Kafka may hand out a record once more.
  expect(more.filter(({ id }) => id !== 'f2')).toEqual([]);
  expect([first, second].map((event) => isWhole(event!))).toEqual([false, true]);
  expect(second!.merged!.ids).toEqual(['f2', expect.not.stringMatching(/^f2$/)]);
});

/** A watch whose list is what `list` says, asked by its query; `tick` is one look later. */
async function watchOf(list: (query: string) => Iterable<object>) {
  const { workflow } = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) });
  vi.spyOn(workflow, 'list').mockImplementation(
    ({ query } = {}) =>
      ({
        async *[Symbol.asyncIterator]() {
          yield* list(query!);
        },
      }) as never,
  );
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const logs: LogLine[] = [];
  const watch = await watchUnfinishedRuns(workflow, loggerInto(logs));
  onTestFinished(() => watch.stop());
  return { watch, logs, tick: (ms = 3_000) => vi.advanceTimersByTimeAsync(ms) };
}

const closedRun = (workflowId: string, closeTime = new Date()) => ({ workflowId, runId: workflowId, closeTime });

test('a run that ended while there was no list for half an hour is in the next one', async () => {
  const runs = [closedRun('before')];
  let isAway = false;
  const { watch, tick } = await watchOf((query) => {
    if (isAway) throw new Error('visibility is away');
    const [, since] = /CloseTime > "(.+)"/.exec(query) ?? [];
    return runs.filter(({ closeTime }) => since === undefined || closeTime > new Date(since)).toReversed();
  });
  isAway = true;
  await tick(60_000);
  runs.push(closedRun('meanwhile'));
  await tick(30 * 60_000);
  isAway = false;
  await tick();
  await tick(60_000);
  expect([watch.includes('before'), watch.includes('meanwhile'), watch.includes('never')]).toEqual([true, true, false]);
});

test('of more runs than a bridge keeps the newest are known, and a line says so', async () => {
  const closeTime = new Date();
  let read = 0;
  const { watch, logs } = await watchOf(function* () {
    for (; read < 300_000; read++) yield closedRun(`k${read}`, closeTime);
  });
  expect(watch.includes('k0')).toBe(true);
  expect(read).toBeLessThan(260_000);
  expect(logs.map(({ msg }) => msg)).toEqual([expect.stringContaining('more than 250000 runs that did not finish')]);
});

test('while Temporal has no list, every key is looked at as a whole, with one line', async () => {
  const bed = await bridgeBed();
  const connection = await Connection.connect({ address: stack().temporal.address });
  onTestFinished(() => connection.close());
  const { workflow } = new Client({ connection });
  const list = vi.spyOn(workflow, 'list').mockImplementation(() => {
    throw new Error('visibility is away');
  });
  const bridge = await bed.start({ client: workflow });
  await bed.produce(hset('f1', 'k'));
  await bed.untilCommitted(1);
  expect((await bed.workflow('k')).signals.flat().map(isWhole)).toEqual([true]);
  await until(() => expect(bed.warnings()).toEqual([expect.stringMatching(/does not list .*visibility is away/)]));
  list.mockRestore();
  await until(() => expect(bed.logs.map(({ msg }) => msg).join()).toContain('over: Temporal does not list'));
  await bed.produce(hset('f1', 'l'));
  await bed.untilCommitted(2);
  expect((await bed.workflow('l')).signals.flat().map(isWhole)).toEqual([false]);
  await bridge.stop();
});
