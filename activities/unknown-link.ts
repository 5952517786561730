/**
 * A link that this worker does not know. Another worker may have it: so an activity is tried again,
 * until nobody has known the link for so long that it must have been removed.
 */
import { Context } from '@temporalio/activity';

/** In a rolling deployment workers do not know a link for some minutes. Longer: it was removed. */
const REMOVED_AFTER_MS = 10 * 60_000;

/**
 * Kept from attempt to attempt, whichever worker makes them. One that knows the link forgets it.
 */
export interface Unknown {
  /** Since when no worker that was asked has known the link, in ms since the epoch. */
  readonly unknownSince?: number;
}

/** What an attempt that does not know the link is to keep for the next one. */
export function stillUnknown(): Required<Unknown> {
  const { unknownSince = Date.now() } = (Context.current().info.heartbeatDetails ?? {}) as Unknown;
  return { unknownSince };
}

export function isRemoved({ unknownSince }: Required<Unknown>): boolean {
  return Date.now() - unknownSince >= REMOVED_AFTER_MS;
}
