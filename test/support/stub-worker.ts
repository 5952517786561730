/**
 * Escalated keys by the thousand, without a Redis: workflows that show what an escalated one shows,
 * and a worker of a few lines that answers for them.
 */
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter, defineSearchAttributeKey } from '@temporalio/common';
import pMap from 'p-map';
import { type KeyStatus, SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../workflows/messages.js';

const keyword = (name: keyof typeof SEARCH_ATTRIBUTES) => defineSearchAttributeKey(SEARCH_ATTRIBUTES[name], 'KEYWORD');
const [LINK, STATE, ERROR] = [keyword('link'), keyword('state'), keyword('error')];
const STARTED_AT_ONCE = 48;
const POLLERS = 8;
const ANSWERED = 1; // temporal.api.enums.v1.QueryResultType
const COMPLETE = 4; // temporal.api.enums.v1.CommandType

export interface StubKey {
  readonly workflowId: string;
  readonly error: string;
}

/** Starts them as if they had escalated long ago. A worker is to run. */
export async function startEscalated(
  client: Client,
  { link, taskQueue }: { link: string; taskQueue: string },
  keys: readonly StubKey[],
): Promise<void> {
  await pMap(
    keys,
    ({ workflowId, error }) =>
      client.workflow.start(WORKFLOW_TYPE, {
        workflowId,
        taskQueue,
        args: [],
        typedSearchAttributes: [
          { key: LINK, value: link },
          { key: STATE, value: 'escalated' },
          { key: ERROR, value: error },
        ],
      }),
    { concurrency: STARTED_AT_ONCE, stopOnError: true },
  );
}

export interface StubWorker {
  /** Workflows that were told something, in order. */
  readonly told: string[];
  /** How many it has begun. A signal before that would be taken for a part of the start. */
  begun(): number;
  stop(): Promise<void>;
}

/**
 * @param heals whether a workflow is done once it was told something; else it stays as it is
 * @param onTold runs before a workflow that was told something is answered for
 */
export function startStubWorker(
  { connection }: Client,
  taskQueue: string,
  heals: (workflowId: string) => boolean,
  onTold: (told: number) => Promise<void> | void = () => {},
): StubWorker {
  const { workflowService } = connection;
  const namespace = 'default';
  const told: string[] = [];
  let [isStopped, begun] = [false, 0];
  const work = async () => {
    while (!isStopped) {
      const request = { namespace, taskQueue: { name: taskQueue }, identity: 'stub' };
      const task = await connection
        .withDeadline(Date.now() + 5_000, () => workflowService.pollWorkflowTaskQueue(request))
        .catch(() => null);
      if (task === null || task.taskToken.length === 0) continue;
      const { taskToken } = task;
      const workflowId = task.workflowExecution!.workflowId!;
      if (task.query != null) {
        const queryResult = answer(workflowId);
        await workflowService.respondQueryTaskCompleted({ namespace, taskToken, completedType: ANSWERED, queryResult });
        continue;
      }
      // Others travel with what else is to be done.
      const queryResults = Object.fromEntries(
        Object.keys(task.queries ?? {}).map((id) => [id, { resultType: ANSWERED, answer: answer(workflowId) }]),
      );
      const isTold = Number(task.previousStartedEventId) > 0;
      if (isTold) {
        told.push(workflowId);
        await onTold(told.length);
      } else begun += 1;
      const done = { commandType: COMPLETE, completeWorkflowExecutionCommandAttributes: {} };
      await workflowService.respondWorkflowTaskCompleted({
        namespace,
        taskToken,
        identity: 'stub',
        queryResults,
        commands: isTold && heals(workflowId) ? [done] : [],
      });
    }
  };
  const working = Promise.all(Array.from({ length: POLLERS }, work));
  working.catch(() => {}); // Told by `stop`.
  return {
    told,
    begun: () => begun,
    async stop() {
      isStopped = true;
      await working;
    },
  };
}

function answer(workflowId: string) {
  const status: Partial<KeyStatus> = {
    key: workflowId,
    encoding: 'utf8',
    state: 'escalated',
    attempts: 8,
    pending: 1,
    lastError: null,
  };
  return { payloads: [defaultPayloadConverter.toPayload(status)!] };
}
