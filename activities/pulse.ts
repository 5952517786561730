/**
 * The sign of life of a durable attempt, and what the next attempt of the same activity learns from
 * it: how far this one has come, and whether it ended by itself.
 */
import { Context } from '@temporalio/activity';
import type { Earlier } from '../workflows/activities.js';

/** Below the heartbeat timeouts of the workflows (10 s) with room for a slow network. */
const HEARTBEAT_INTERVAL_MS = 3_000;

/** What the server keeps of an attempt. It keeps only the last. */
interface Details<Progress> {
  readonly progress: Progress | undefined;
  /** The number of the last attempt that ended by itself, and said so. */
  readonly ended: number;
  /** Of all attempts until that one. */
  readonly earlier: Earlier;
}

interface Pulse<Progress> {
  /** How far an earlier attempt has come. */
  readonly resume: Progress | undefined;
  /** What earlier attempts of the activity have done to the target. */
  readonly earlier: Earlier;
  /** What was reported last, by this attempt or an earlier one. */
  readonly progress: Progress | undefined;
  report(reached: Progress | undefined): void;
  /** Says what this attempt has done: to be called before it fails or answers. */
  end(effect: Earlier): void;
  stop(): void;
}

/**
 * Says that this process lives, so that another worker takes over soon after it does not, and how
 * far it has come, so that the other can go on from there.
 * @param kept what else the next attempt is to be told, beside that
 */
export function startPulse<Progress>(kept: object = {}): Pulse<Progress> {
  const context = Context.current();
  const { attempt, heartbeatDetails } = context.info;
  const { progress, ended = 0, earlier: known = 'nothing' } = (heartbeatDetails ?? {}) as Partial<Details<Progress>>;
  // One that has not told its end may have written, and may even be at work still.
  const earlier: Earlier = ended === attempt - 1 ? known : 'unknown';
  let details: Details<Progress> = { ...kept, progress, ended, earlier };
  const beat = () => context.heartbeat(details);
  const timer = setInterval(beat, HEARTBEAT_INTERVAL_MS);
  // An attempt that fails before its first heartbeat must not lose what an earlier one had reached.
  beat();
  return {
    resume: progress,
    earlier,
    get progress() {
      return details.progress;
    },
    report(reached) {
      details = { ...details, progress: reached };
      beat();
    },
    end(effect) {
      details = { ...details, ended: attempt, earlier: stronger(earlier, effect) };
      beat();
    },
    stop: () => clearInterval(timer),
  };
}

/**
 * Says by the clock that this process lives, as long as the work takes, and nothing else: so that a
 * worker that was killed is noticed soon.
 * @param noted what the next attempt is to be told; asked for at each beat. The first beat comes
 *   after a while, so that whatever the work itself tells first is not held back behind it
 */
export async function beating<T>(work: () => Promise<T>, noted: () => unknown = () => undefined): Promise<T> {
  const context = Context.current();
  const timer = setInterval(() => context.heartbeat(noted()), HEARTBEAT_INTERVAL_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

const BY_STRENGTH: readonly Earlier[] = ['nothing', 'wrote', 'unknown'];

function stronger(one: Earlier, other: Earlier): Earlier {
  return BY_STRENGTH[Math.max(BY_STRENGTH.indexOf(one), BY_STRENGTH.indexOf(other))]!;
}
