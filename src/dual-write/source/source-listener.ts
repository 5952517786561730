/** What is told of the source, and to whom. */
import { failsHalfWay } from '../../commands/command.js';
import type { RawReply } from '../target/replay.js';
import type { Announcement } from './announce.js';
import type { Write } from './write.js';

/** A write that the source has carried out. */
export interface AcceptedWrite {
  readonly write: Write;
  readonly reply: RawReply;
  /** ioredis sent it again after a lost connection, so the source may have carried it out twice. */
  readonly resent: boolean;
  /** When it was given to the source, in `performance.now()`. */
  readonly sinceMs: number;
}

/**
 * What the source did; called in the order of its replies (in a Cluster: of each node's), before
 * the application sees them.
 */
export interface SourceListener {
  /**
   * Carried out, as one unit. The application gets the reply when the promise resolves, or the
   * error it rejects with.
   */
  accepted(unit: readonly AcceptedWrite[]): Promise<void> | undefined;
  /** Sent, but whether the source carried it out, or how much of it, will never be known. */
  unknown(writes: readonly Write[]): void;
  /** The source carried none of them out, and never will. */
  refused(writes: readonly Write[]): void;
  /** It has refused a write because it is a replica. */
  isReplica(): void;
  /** The application gives it to the source, in the very call. @param sinceMs as accepted */
  sent?(write: Write, sinceMs: number): void;
  /** What to send in front of a write, not in a Cluster. */
  announce?(write: Write): readonly Announcement[];
}

/**
 * Whether a write that the source refused may be done nevertheless: in part, or wholly when it was
 * sent before.
 */
export function mayBeDone({ command }: Write, error: Error, resent: boolean): boolean {
  return resent || (failsHalfWay(command) && !error.message.startsWith('NOSCRIPT'));
}
