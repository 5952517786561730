/** `keymend retry KEY` and `keymend retry --escalated` */
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import pMap from 'p-map';
import { outageLine } from '../../../workflows/details.js';
import { type ErrorType, retry } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { errorText } from '../../temporal/error-text.js';
import { askStatus, type Listed, whoseQueue } from '../answers.js';
import { withClient } from '../configured.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { type KeyWorkflow, keyToReconcile } from '../key-workflow.js';
import { tell } from '../own-run.js';
import type { KeyOptions } from '../usage/options.js';
import { escalatedKeys } from './escalations.js';

const CONCURRENCY = 16;
const ASKED_OF_A_QUEUE = 3;

/** One key, or every escalated one. */
export async function retryKeys(
  text: string | undefined,
  options: KeyOptions & { escalated?: true },
  global: GlobalOptions,
): Promise<void> {
  if ((text === undefined) === (options.escalated === undefined)) {
    throw new VerbError('say either a KEY or --escalated', EXIT.usage);
  }
  await withClient(global, async (client, config) => {
    if (text !== undefined) {
      await retryOne(global, client, config, keyToReconcile(config, text, options));
    } else {
      await retryEscalated(global, client, config, options.link);
    }
  });
}

async function retryOne(global: GlobalOptions, client: Client, config: Config, key: KeyWorkflow): Promise<void> {
  const { state, outage, lastError } = await tell(client, config, key, retry);
  // Asked behind the signal: it waits because the server was found to be out once more.
  const what =
    outage === null ? 'tries again' : `waits for ${outageLine(outage)}, and is tried again when that answers`;
  print(global, { retried: 1, ...(outage !== null && { outage }) }, () => [`${key.workflowId} ${what}`]);
  if (state === 'done' || lastError?.type !== ('SourceSuspicious' satisfies ErrorType)) return;
  report(
    'the delete guard refused the last attempt, and refuses this one too while the source has so few keys; if the delete is ' +
      'meant, `keymend reconcile KEY --allow-delete`',
  );
}

async function retryEscalated(
  global: GlobalOptions,
  client: Client,
  config: Config,
  link: string | undefined,
): Promise<void> {
  const others: Listed[] = [];
  const tryAgain = async (key: Listed) => {
    if (key.taskQueue === config.temporal.taskQueue) return retryListed(client, key);
    others.push(key);
    return null;
  };
  const told = await pMap(escalatedKeys(client, config, link), tryAgain, { concurrency: CONCURRENCY });
  const retried = told.filter((key) => key !== null);
  const silent = await unanswered(client, config, retried);
  print(global, { retried: retried.length, ...(silent.length > 0 && { unanswered: silent.length }) }, () => [
    `told ${counted(retried.length, 'escalated key')} to try again`,
  ]);
  const problems: string[] = [];
  if (silent.length > 0) {
    problems.push(
      `${silent.length} of ${counted(retried.length, 'key')} without an answer, for example ${silent[0]!.workflowId}: ` +
        `${silent[0]!.unanswered}. What they were told is kept until a worker takes it`,
    );
  }
  if (others.length > 0) {
    problems.push(
      `${counted(others.length, 'escalated key')} of other task queues, told nothing, for example ${others[0]!.workflowId}: ` +
        (await whoseQueue(client, config, others[0]!)),
    );
  }
  if (problems.length > 0) throw new VerbError(problems.join('; '));
}

/**
 * @returns null when the key is not there to retry any more: one that healed since it was listed
 *   has nothing left
 */
async function retryListed(client: Client, key: Listed): Promise<Listed | null> {
  const { workflowId } = key;
  try {
    await client.workflow.getHandle(workflowId).signal(retry);
    return key;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw new VerbError(`workflow ${workflowId} was not told to try again: ${errorText(error)}`);
  }
}

interface Silent extends Listed {
  readonly unanswered: string;
}

/**
 * Those that nobody answers for. Of each task queue a few are asked: where none of them is answered
 * for, it is the worker that is missing, and the others would only cost their time-out.
 */
async function unanswered(client: Client, config: Config, keys: readonly Listed[]): Promise<Silent[]> {
  const silent: Silent[] = [];
  for (const taskQueue of new Set(keys.map((key) => key.taskQueue))) {
    const there = keys.filter((key) => key.taskQueue === taskQueue);
    const asked = await Promise.all(
      there
        .slice(0, ASKED_OF_A_QUEUE)
        .map(async (key) => ({ key, answer: await askStatus(client, config, key.workflowId) })),
    );
    const found = asked.flatMap(({ key, answer }) => ('unanswered' in answer ? [{ ...key, ...answer }] : []));
    const others = found.length === asked.length ? there.slice(ASKED_OF_A_QUEUE) : [];
    silent.push(...found, ...others.map((key) => ({ ...key, unanswered: found[0]!.unanswered })));
  }
  return silent;
}
