/** Whether anybody answers for a key: a signal is taken by the server alone, whoever listens. */
import type { Client } from '@temporalio/client';
import { type KeyStatus, status } from '../../workflows/messages.js';
import type { Config } from '../config.js';
import { errorText } from '../temporal/error-text.js';
import { isStuck, isUnanswered } from '../temporal/unanswered.js';
import { VerbError } from './context.js';

const ANSWER_MS = 10_000;
/** The second half of a sentence, as `Unanswered` has it. */
export const STUCK = 'its workers fail each time that they go on with it; its history in Temporal says why';

/** A workflow, and the task queue that it was started on. */
export interface Listed {
  readonly workflowId: string;
  readonly taskQueue: string;
}

/** Why nobody answers: the second half of a sentence. */
export interface Unanswered {
  readonly unanswered: string;
  /** Whether a worker may answer yet. */
  readonly isLate: boolean;
}

/**
 * Asks the workflow of a key for its status. The answer takes in what it was told before: a worker
 * that does not get on with that does not answer either.
 */
export async function askStatus(client: Client, config: Config, workflowId: string): Promise<KeyStatus | Unanswered> {
  const handle = client.workflow.getHandle(workflowId);
  try {
    return await client.withDeadline(Date.now() + ANSWER_MS, () => handle.query(status));
  } catch (error) {
    const description = await client
      .withDeadline(Date.now() + ANSWER_MS, () => handle.describe())
      .catch((failure: unknown) => ({ failure }));
    const isLate = isUnanswered(error) && !isStuck(error);
    if ('failure' in description) return { unanswered: errorText(description.failure), isLate };
    const why = isStuck(error) ? STUCK : whoIsMissing(description.taskQueue, config);
    return { unanswered: `${why} (${errorText(error)})`, isLate };
  }
}

/**
 * A workflow stays on the task queue that it was started on, whatever the configuration says now.
 */
export function whoIsMissing(taskQueue: string, { temporal }: Config): string {
  if (taskQueue === temporal.taskQueue)
    return `no worker answers on its task queue ${taskQueue}; start one with \`keymend worker\` or \`keymend start\``;
  return (
    `no worker answers on its task queue ${taskQueue}, and those of this configuration listen on ${temporal.taskQueue}; ` +
    `run one with temporal.taskQueue: ${taskQueue} until what was begun there is done`
  );
}

/** Why a workflow on another task queue than the configured one is to be told nothing. */
export async function whoseQueue(client: Client, config: Config, { workflowId, taskQueue }: Listed): Promise<string> {
  const answer = await askStatus(client, config, workflowId);
  if ('unanswered' in answer) return answer.unanswered;
  return (
    `a worker answers on its task queue ${taskQueue}, but those of this configuration listen on ${config.temporal.taskQueue}; ` +
    `name a configuration with temporal.taskQueue: ${taskQueue}`
  );
}

/** @throws VerbError when nobody takes what a workflow was told */
export async function expectAnswer(client: Client, config: Config, workflowId: string): Promise<KeyStatus> {
  const answer = await askStatus(client, config, workflowId);
  if ('unanswered' in answer) {
    throw new VerbError(`told ${workflowId}, which is kept until a worker takes it, but ${answer.unanswered}`);
  }
  return answer;
}
