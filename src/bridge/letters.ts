/** Records that no workflow can be told of, on their way to the dead letters. */
import type { Logger } from 'pino';
import type { DeadLetterReason } from '../../workflows/dead-letter-reasons.js';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import { type DeadLetterCause, deadLetterOf } from '../events/dead-letter.js';
import { type DeadLetters, describeRefusal, publishWhatFits } from '../events/dead-letters.js';
import type { IntakeRecord } from '../events/intake.js';
import { kafkaErrorMessage } from '../kafka/client.js';
import { Outage } from '../patience/outage.js';
import { untilTaken } from '../patience/until-taken.js';
import type { Gaps } from './gaps.js';

interface Letter {
  readonly record: IntakeRecord;
  readonly failure: DeadLetterCause;
}

interface LettersOptions {
  readonly deadLetters: DeadLetters;
  readonly gaps: Gaps;
  readonly logger: Logger;
}

export class Letters {
  readonly #options: LettersOptions;
  readonly #outage: Outage;

  constructor(options: LettersOptions) {
    this.#options = options;
    this.#outage = new Outage(options.logger, `the dead-letter ${options.deadLetters.kind} does not take records`);
  }

  /** Those of one batch: thousands of them must not become thousands of log lines. */
  ofBatch(): BatchLetters {
    return new BatchLetters((letter, signal) => this.#post(letter, signal), this.#options);
  }

  /** @returns false when aborted before it was taken */
  async #post({ record, failure }: Letter, signal: AbortSignal): Promise<boolean> {
    const { deadLetters, gaps, logger } = this.#options;
    const letter = deadLetterOf(record, failure);
    const publish = async () => {
      const refusal = await publishWhatFits(deadLetters, letter);
      if (refusal !== null) logger.error(describeRefusal(deadLetters, record.position, refusal));
    };
    if (!(await untilTaken(publish, { outage: this.#outage, explain: kafkaErrorMessage, signal }))) return false;
    if (record.unreadable) await gaps.open(gapOf(record, failure.error.message), signal);
    return !(record.unreadable && signal.aborted);
  }
}

class BatchLetters {
  readonly #byReason = new Map<DeadLetterReason, { count: number; first: Letter }>();

  constructor(
    readonly send: (letter: Letter, signal: AbortSignal) => Promise<boolean>,
    readonly options: LettersOptions,
  ) {}

  /** @returns false when aborted before it was taken */
  async post(record: IntakeRecord, failure: DeadLetterCause, signal: AbortSignal): Promise<boolean> {
    if (!(await this.send({ record, failure }, signal))) return false;
    const { count = 0, first = { record, failure } } = this.#byReason.get(failure.reason) ?? {};
    this.#byReason.set(failure.reason, { count: count + 1, first });
    return true;
  }

  /** One line for each reason. */
  tell(): void {
    const { deadLetters, logger } = this.options;
    for (const [reason, { count, first }] of this.#byReason)
      logger.warn({ reason, count }, describeLetters(deadLetters.kind, count, first));
  }
}

function gapOf({ position, unreadable }: IntakeRecord, message: string): NoticedGap {
  const { topic, partition, offset } = position;
  const records = Number(BigInt(unreadable!.lastOffset) - BigInt(offset)) + 1;
  return { id: `${topic}[${partition}] unreadable at ${offset}`, cause: 'unreadable', records, message };
}

function describeLetters(kind: string, count: number, { record: { position }, failure }: Letter): string {
  const place = `${position.topic}[${position.partition}] offset ${position.offset}`;
  const which = count === 1 ? `the record at ${place}` : `${count} records, the first at ${place},`;
  return `${which} went to the dead-letter ${kind} (${failure.reason}): ${failure.error.message}`;
}
