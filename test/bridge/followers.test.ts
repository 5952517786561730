/**
 * A bridge that ends within the lag of Temporal's list forgets what it has told: the next one finds
 * it out.
 */
import {
  Client,
  Connection,
  ServiceError,
  type WorkflowClient,
  type WorkflowExecutionInfo,
  type WorkflowHandle,
} from '@temporalio/client';
import { expect, onTestFinished, test, vi } from 'vitest';
import { isOfWholeKey } from '../../src/bridge/whole-key.js';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import { NET_MS } from '../support/eventually.js';
import { stack } from '../support/services.js';
import { type BridgeBed, bridgeBed, until } from './bridge-bed.js';

const COMPLETE_WORKFLOW_EXECUTION = 4; // temporal.api.enums.v1.CommandType

const handleOf = ({ client, config }: BridgeBed, key: string): WorkflowHandle =>
  client.workflow.getHandle(workflowIdFor(config.links[0]!.workflowIdPrefix, Buffer.from(key)));
const hset = (id: string, key: string) => ({ id, key, command: 'HSET', members: [id] });
const told = async (bed: BridgeBed, key: string) => (await bed.workflow(key)).signals.flat();

/** A client of its own for a bridge, whose list is what `change` makes of it. */
async function clientWithList(
  change: (run: WorkflowExecutionInfo) => WorkflowExecutionInfo | null,
): Promise<WorkflowClient> {
  const connection = await Connection.connect({ address: stack().temporal.address });
  onTestFinished(() => connection.close());
  const { workflow } = new Client({ connection });
  const list = workflow.list.bind(workflow);
  vi.spyOn(workflow, 'list').mockImplementation(
    (options) =>
      ({
        async *[Symbol.asyncIterator]() {
          for await (const run of list(options)) {
            const changed = change(run);
            if (changed !== null) yield changed;
          }
        },
      }) as never,
  );
  return workflow;
}

/** Ends the run that waits for a worker, as one would that has repaired what it was told of. */
async function finish({ client, config }: BridgeBed, key: string, handle: WorkflowHandle): Promise<void> {
  const { workflowService } = client;
  const namespace = 'default';
  const taskQueue = { name: config.temporal.taskQueue };
  const poll = () => workflowService.pollWorkflowTaskQueue({ namespace, taskQueue });
  const task = await client.withDeadline(Date.now() + NET_MS, poll);
  expect(task.workflowExecution?.workflowId).toContain(key);
  const commands = [{ commandType: COMPLETE_WORKFLOW_EXECUTION, completeWorkflowExecutionCommandAttributes: {} }];
  await workflowService.respondWorkflowTaskCompleted({ namespace, taskToken: task.taskToken, commands });
  expect((await handle.describe()).status.name).toBe('COMPLETED');
}

/** A run with f1 is terminated, and f2 told before the list has it; then the bridge ends. */
async function forgottenBy(bed: BridgeBed, key: string): Promise<void> {
  const bridge = await bed.start({ client: await clientWithList(() => null) });
  await bed.produce(hset('f1', key));
  await bed.untilCommitted(1);
  await handleOf(bed, key).terminate();
  await bed.produce(hset('f2', key));
  await bed.untilCommitted(2);
  await bridge.stop();
  expect((await told(bed, key)).map(isOfWholeKey)).toEqual([false]);
}

test.each(['still runs', 'has repaired its part'])('a follower that %s is told of the whole key', async (how) => {
  const bed = await bridgeBed();
  await forgottenBy(bed, 'k');
  if (how !== 'still runs') await finish(bed, 'k', handleOf(bed, 'k'));
  await bed.start();
  await until(async () => expect((await told(bed, 'k')).map(isOfWholeKey)).toContain(true));
});

test('also if the next bridge has a list that lags', async () => {
  const bed = await bridgeBed();
  const first = await bed.start();
  await bed.produce(hset('f1', 'k'));
  await bed.untilCommitted(1);
  await first.stop();
  await handleOf(bed, 'k').terminate();
  let lags = true;
  const next = await bed.start({ client: await clientWithList((run) => (lags ? null : run)) });
  await bed.produce(hset('f2', 'k'));
  await bed.untilCommitted(2);
  expect((await told(bed, 'k')).map(isOfWholeKey)).toEqual([false]);
  lags = false;
  await until(async () => expect((await told(bed, 'k')).map(isOfWholeKey)).toContain(true));
  await next.stop();
});

test('a follower that was told of the whole key, or that came long after, is told nothing', async () => {
  const bed = await bridgeBed();
  await forgottenBy(bed, 'k');
  const asksOf = async (change: (run: WorkflowExecutionInfo) => WorkflowExecutionInfo) => {
    const client = await clientWithList(change);
    const histories: string[] = [];
    const described: string[] = [];
    const getHandle = client.getHandle.bind(client);
    vi.spyOn(client, 'getHandle').mockImplementation(((workflowId: string, runId?: string) => {
      const handle = getHandle(workflowId, runId);
      const noting =
        <T>(list: string[], work: () => Promise<T>) =>
        async () => {
          const answer = await work();
          list.push(workflowId);
          return answer;
        };
      const describe = noting(described, () => handle.describe());
      const fetchHistory = noting(histories, () => handle.fetchHistory());
      return { ...handle, describe, fetchHistory };
    }) as typeof client.getHandle);
    return { client, described, histories };
  };

  const longAgo = await asksOf((run) => ({ ...run, closeTime: new Date(run.closeTime!.getTime() - 3_600_000) }));
  const second = await bed.start({ client: longAgo.client });
  await until(() => expect(longAgo.described).toHaveLength(1));
  // It waits for what is under way.
  await second.stop();
  expect((await told(bed, 'k')).map(isOfWholeKey)).toEqual([false]);

  const third = await bed.start();
  await until(async () => expect((await told(bed, 'k')).map(isOfWholeKey)).toEqual([false, true]));
  await third.stop();

  const asAlways = await asksOf((run) => run);
  const fourth = await bed.start({ client: asAlways.client });
  await until(() => expect(asAlways.histories).toHaveLength(1));
  await fourth.stop();
  expect(await told(bed, 'k')).toHaveLength(2);
});

test('a Temporal that does not tell what followed is told of once, and asked more and more seldom', async () => {
  const bed = await bridgeBed();
  await forgottenBy(bed, 'k');
  const client = await clientWithList((run) => run);
  let refuses = true;
  let asked = 0;
  const getHandle = client.getHandle.bind(client);
  vi.spyOn(client, 'getHandle').mockImplementation(((workflowId: string, runId?: string) => {
    const handle = getHandle(workflowId, runId);
    const describe = async () => {
      if (!refuses) return handle.describe();
      asked += 1;
      throw new ServiceError('Failed to describe Workflow', { cause: new Error('7 PERMISSION_DENIED: not yours') });
    };
    return { ...handle, describe, fetchHistory: () => handle.fetchHistory() };
  }) as typeof client.getHandle);
  await bed.start({ client });
  // Both are looked at as often: what did not rest would be asked for each list.
  await until(() => expect(vi.mocked(client.list).mock.calls.length).toBeGreaterThan(8));
  expect(asked).toBeGreaterThan(1);
  expect(asked).toBeLessThan(7);
  const lines = bed.warnings().filter((line) => line.includes('followed'));
  expect(lines).toEqual([expect.stringContaining('PERMISSION_DENIED: not yours')]);

  refuses = false;
  await until(async () => expect((await told(bed, 'k')).map(isOfWholeKey)).toContain(true));
  await until(() => expect(bed.logs.map(({ msg }) => msg).join()).toMatch(/over \(for \d+ s\): .*followed/));
});
