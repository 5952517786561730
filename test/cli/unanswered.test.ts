/** Of many keys, one whose workflow can't go on holds up none of the others. */
import { Client, Connection } from '@temporalio/client';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import { askStatus } from '../../src/cli/answers.js';
import { outcomeOf } from '../../src/cli/bulk/outcome.js';
import { reconciling } from '../../src/cli/bulk/reconciling.js';
import { type Answer, tellAll } from '../../src/cli/bulk/run.js';
import { ToldKeys } from '../../src/cli/bulk/told-keys.js';
import { parseConfig } from '../../src/config.js';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { until } from '../support/eventually.js';
import { stack } from '../support/services.js';

const TOLD: Answer = { kind: 'told', wasEscalated: false };
const UNANSWERED: Answer = { kind: 'unanswered', why: 'nobody answers', isStuck: false };

function configOf(taskQueue: string) {
  const links = [{ name: 'a', source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const temporal = { address: stack().temporal.address, taskQueue };
  return parseConfig(JSON.stringify({ intake: 'redis-stream', temporal, links }), 'a test', {});
}

/** Tells one key after the other, which answer so. */
function telling(...answers: readonly Answer[]) {
  async function* targets() {
    for (const index of answers.keys())
      yield { workflowId: `${index}`, runId: null, taskQueue: null, isEscalated: false, key: null };
  }
  const selection = { what: 'all', count: async () => null, targets: targets(), isAllEscalated: false };
  const tell = async ({ workflowId }: { workflowId: string }) => answers[Number(workflowId)]!;
  return tellAll(configOf('any'), selection, { rate: undefined, verb: 'reconcile', tell });
}

test('a key without an answer is counted, and those behind it are told', async () => {
  const four = Array.from({ length: 4 }, () => UNANSWERED);
  const { keys, unanswered, firstUnanswered } = await telling(...four, TOLD, ...four, TOLD);
  expect(keys.size).toBe(2);
  expect(unanswered).toBe(8);
  expect(firstUnanswered).toEqual({ workflowId: '0', why: 'nobody answers' });
});

test('where several in a row have no answer no more are told', async () => {
  const six = Array.from({ length: 6 }, () => UNANSWERED);
  await expect(telling(TOLD, ...six, TOLD)).rejects.toThrow(
    'workflow 5 was asked, and 4 others right before it, but nobody answers. 1 key was told before',
  );
});

test('however many are stuck in a row, those behind them are told: there is a worker', async () => {
  const six = Array.from({ length: 6 }, () => ({ ...UNANSWERED, isStuck: true }));
  expect((await telling(...six, TOLD)).keys.size).toBe(1);
});

/** A run whose worker fails with it each time. */
async function stuckRun(client: Client, taskQueue: string): Promise<string> {
  const { connection } = client;
  const handle = await client.workflow.start(WORKFLOW_TYPE, { workflowId: ulid(), taskQueue, args: [] });
  let isOver = false;
  void (async () => {
    while (!isOver) {
      const { workflowService } = connection;
      const request = { namespace: 'default', taskQueue: { name: taskQueue }, identity: 'stuck' };
      const task = await connection
        .withDeadline(Date.now() + 60_000, () => workflowService.pollWorkflowTaskQueue(request))
        .catch(() => null);
      if (task === null || task.taskToken.length === 0 || task.query != null) continue;
      const failed = { namespace: 'default', taskToken: task.taskToken, cause: 24, identity: 'stuck' };
      await workflowService.respondWorkflowTaskFailed(failed).catch(() => {});
    }
  })();
  onTestFinished(async () => {
    isOver = true;
    await handle.terminate(); // The last poll ends with the connection.
  });
  await until(async () => ((await handle.describe()).raw.pendingWorkflowTask?.attempt ?? 0) >= 3);
  return handle.workflowId;
}

test('a run that its worker can’t go on with has no answer, and is not waited for', async () => {
  const connection = await Connection.connect({ address: stack().temporal.address });
  onTestFinished(() => connection.close());
  const client = new Client({ connection });
  const taskQueue = `stuck-${ulid()}`;
  const config = configOf(taskQueue);
  const workflowId = await stuckRun(client, taskQueue);
  const why = expect.stringMatching(/^its workers fail each time/);
  expect(await askStatus(client, config, workflowId)).toEqual({ unanswered: why, isLate: false });
  const target = { workflowId, runId: null, taskQueue, isEscalated: false, key: null };
  expect(await reconciling(client, config)(target)).toEqual({ kind: 'unanswered', why, isStuck: true });
  const told = new ToldKeys(3);
  told.add(workflowId);
  const followed = { told, wereEscalated: 1, begunAt: new Date(), escalatedBefore: null, link: undefined };
  expect(await outcomeOf(client, config, followed, 5_000, () => {})).toMatchObject({ underWay: 1, healed: 0 });
});
