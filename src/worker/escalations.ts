/** What a worker tells of a key that was given up on for now: the log, and the dead letters. */
import { ApplicationFailure } from '@temporalio/common';
import type { Logger } from 'pino';
import type { Tries } from '../../activities/escalation.js';
import { LETTERS_AT_ONCE, LETTERS_IN_LINE, Slots } from '../../activities/slots.js';
import type { WorkflowRun } from '../../activities/work.js';
import type { EscalateRequest } from '../../workflows/activities.js';
import { nextStep } from '../../workflows/error-types.js';
import { escalationLetter, escalationReason } from '../events/dead-letter.js';
import { type DeadLetters, type EarlierTry, publishWhatFits } from '../events/dead-letters.js';
import type { WorkerMetrics } from '../telemetry/worker-metrics.js';

type PublishEscalation = (request: EscalateRequest, workflow: WorkflowRun, tries?: Tries) => Promise<void>;

interface EscalationsOptions {
  /** Names of those that are configured. */
  readonly links: readonly string[];
  readonly deadLetters: DeadLetters;
  /** Whoever else is told. Rejects when it can't be; the whole is tried again then. */
  readonly notify: (request: EscalateRequest) => Promise<void>;
  readonly metrics: Pick<WorkerMetrics, 'escalated' | 'deadLettered'>;
  readonly logger: Logger;
}

/** Letters of this process that wait for their notice, and the other way round. */
const MOST_HALF_DONE = 10_000;
/** Of keys that are not escalated: nobody else needs to hear of these. */
const NO_ESCALATIONS: ReadonlySet<string> = new Set(['Cancelled', 'WorkflowIdTaken']);

/**
 * Publishes the letter of an escalation: once, whichever process tries how often, as far as it is
 * known where the dead letters ended before the first try. Whoever else is told hears of it also
 * while the dead letters take nothing.
 */
export function publishingEscalations(options: EscalationsOptions): PublishEscalation {
  const { deadLetters, notify, metrics, logger } = options;
  const inSlotOf = letterSlots(options.links);
  const [published, notified] = [new Set<string>(), new Set<string>()];
  return async (request, workflow, tries) => {
    const { id } = request.letter ?? {};
    if (tries === undefined || tries.attempt === 1) tell(logger, request, workflow);
    // Of a batch that hands its keys over: no workflow of the key stays behind to be escalated.
    const isOfNobody = tries === undefined && request.error.type === 'UnknownLink';
    const reason = isOfNobody ? 'unknown-link' : escalationReason(request.error.type);
    const publish = async () => {
      const earlier = await earlierTry(deadLetters, request, tries);
      const refusal = await publishWhatFits(deadLetters, escalationLetter(request, workflow, reason), earlier);
      if (refusal !== null) logger.error({ workflowId: workflow.workflowId }, refusal.message);
      metrics.deadLettered(reason);
    };
    const isEscalation = tries !== undefined && !NO_ESCALATIONS.has(request.error.type);
    if (isEscalation && tries.attempt === 1) metrics.escalated(request.event.link, request.error.type);
    const ended = await Promise.allSettled([
      onceFor(id, published, () => inSlotOf(request.event.link, publish)),
      isEscalation ? onceFor(id, notified, () => notify(request)) : undefined,
    ]);
    const failed = ended.find((end) => end.status === 'rejected');
    // One of them may be done: the next try does not do that again.
    if (failed !== undefined) throw failed.reason;
    for (const done of [published, notified]) done.delete(id ?? '');
  };
}

/**
 * Publishes in a slot of the link. Whoever finds none fails at once, and waits as its workflow
 * says, longer each time: here it would hold a slot of the worker.
 */
function letterSlots(links: readonly string[]) {
  const line = { room: LETTERS_IN_LINE };
  const slots = new Map(links.map((link) => [link, new Slots(LETTERS_AT_ONCE, line)]));
  const ofOthers = new Slots(LETTERS_AT_ONCE, line);
  return async (link: string, publish: () => Promise<void>): Promise<void> => {
    const busy = await (slots.get(link) ?? ofOthers).run(publish);
    if (busy === undefined) return;
    const message = 'more dead letters wait than are taken: they are slow, or away. It is tried again by itself';
    throw ApplicationFailure.retryable(message, 'DeadLettersBusy');
  };
}

async function onceFor(id: string | undefined, done: Set<string>, work: () => Promise<void>): Promise<void> {
  if (id !== undefined && done.has(id)) return;
  await work();
  if (id !== undefined && done.size < MOST_HALF_DONE) done.add(id);
}

function tell(logger: Logger, { event, error, attempts }: EscalateRequest, { workflowId }: WorkflowRun): void {
  const { key, encoding = 'utf8', link, id: eventId } = event;
  const news = error.type === 'Cancelled' ? error.message : `escalated: ${error.message}. ${nextStep(error.type)}`;
  logger.warn({ key, encoding, link, eventId, type: error.type, attempts, workflowId }, news);
}

async function earlierTry(
  deadLetters: DeadLetters,
  { letter }: EscalateRequest,
  tries: Tries | undefined,
): Promise<EarlierTry | undefined> {
  if (letter === undefined || tries === undefined) return undefined;
  const behind = letter.behind ?? tries.noted;
  if (behind === undefined) {
    // For the try behind this one. What an earlier one has published is not known any more.
    const end = await deadLetters.ends?.().catch(() => undefined);
    if (end !== undefined) tries.note(end);
    return undefined;
  }
  return tries.attempt > 1 || letter.mayBeThere ? { behind } : undefined;
}
