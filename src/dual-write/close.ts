/** The end of a DualWriter: all that went before is mirrored or recorded, within a time. */
import { within } from '../patience/within.js';
import type { Mirroring } from './mirroring.js';
import type { CloseReport } from './options.js';
import type { Publisher } from './records/publisher.js';
import type { Intents } from './source/intents.js';
import type { ObservedSource } from './source/observe-source.js';
import type { MirrorFailure } from './target/mirror-failure.js';
import type { Target } from './target/target.js';

/** What a DualWriter is made of, as far as it has an end. */
interface Closing {
  readonly observed: ObservedSource;
  readonly mirroring: Mirroring;
  readonly target: Target;
  readonly publisher: Publisher;
  readonly intents: Intents | undefined;
}

/** @see DualWriter.close */
export async function closeWriter(
  { observed, mirroring, target, publisher, intents }: Closing,
  timeoutMs: number,
): Promise<CloseReport> {
  if (Number.isNaN(timeoutMs)) throw new Error('timeoutMs of close is NaN: it must be a number of ms');
  const deadline = performance.now() + timeoutMs;
  const sent = observed.close();
  const answered = sent.then(() => observed.unanswered.none()).then(() => mirroring.idle());
  await within(timeoutMs / 2, answered);
  // Nobody would mirror it any more.
  observed.closeNow();
  // The source may have answered further writes since: what it did is followed before anything is
  // given up.
  mirroring.catchUp();
  if (mirroring.inFlight > 0) target.abandon();
  await within(deadline - performance.now(), mirroring.idle());
  mirroring.catchUp();
  target.close();
  const unanswered = mirroring.unknown(
    observed.unanswered.take(() => true),
    CLOSED,
  );
  const notRecorded = await publisher.close(deadline - performance.now());
  await intents?.close(Math.max(100, deadline - performance.now()));
  return { notRecorded, unanswered };
}

const CLOSED: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'SOURCE_UNKNOWN', message: 'the application closed before the source answered' },
};
