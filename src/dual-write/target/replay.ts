/**
 * What the target is sent for a write of the source, and which answer proves that it did the same
 * there.
 */
import type { Argument } from '../../commands/arguments.js';

/** What a server said, unparsed: strings are buffers. */
export type RawReply = unknown;

/** A command for the target. With neither `idle` nor `reply`, every answer but an error will do. */
export interface Replay {
  readonly command: string;
  readonly args: readonly Argument[];
  /** Whether the source's reply said that nothing was there to do; the target must say the same. */
  readonly idle?: boolean | undefined;
  /**
   * The target must give this very reply: it proves the same effect where the effect depends on
   * what the target holds.
   */
  readonly reply?: RawReply;
  /**
   * Which argument is a time to live in ms, counted from the source's reply. What is left of it
   * when the command leaves is sent.
   */
  readonly ttlAt?: number | undefined;
}

export type MirrorPlan =
  | { readonly kind: 'replay'; readonly replay: Replay }
  /** Sent to the target, it could do something else there than it did on the source. */
  | { readonly kind: 'record'; readonly reason: string }
  /** The source changed nothing. */
  | { readonly kind: 'nothing' };

export const NOTHING: MirrorPlan = { kind: 'nothing' };

export function replay(
  command: string,
  args: readonly Argument[],
  { idle, reply, ttlAt }: Pick<Replay, 'idle' | 'reply' | 'ttlAt'> = {},
): MirrorPlan {
  return { kind: 'replay', replay: { command, args, idle, reply, ttlAt } };
}

/**
 * The command as it is to leave now.
 * @param passedMs since the source's reply, and until it arrives
 */
export function leaving(replay: Replay, passedMs: number): Replay {
  const { args, ttlAt } = replay;
  if (ttlAt === undefined) return replay;
  const all = BigInt(args[ttlAt]!.toString());
  // What ends at once does so there too. What has ended on its way is there for a moment.
  if (all <= 0n) return replay;
  const left = all - BigInt(Math.round(passedMs));
  return { ...replay, args: args.with(ttlAt, `${left > 0n ? left : 1n}`) };
}

/** @param reason one line, without anything of the application's data */
export function record(reason: string): MirrorPlan {
  return { kind: 'record', reason };
}

/**
 * Whether a reply says that there was nothing to do: no such key or member, or a condition (NX, XX,
 * GT, …) not met. When one side says so and the other does not, the write did not do the same on
 * both.
 */
export function isIdle(reply: RawReply): boolean {
  if (Array.isArray(reply)) return reply.length === 0;
  return reply === null || reply === 0 || reply === -1 || reply === '0' || reply === '-1';
}

/** Whether the target, by its answer, did what the source did. */
export function agrees({ idle, reply: expected }: Replay, answer: RawReply): boolean {
  if (expected !== undefined) return sameReply(expected, answer);
  return idle === undefined || idle === isIdle(answer);
}

/** Whether two servers said the same. Their clients may have options that make numbers text. */
export function sameReply(one: RawReply, other: RawReply): boolean {
  if (one === other || one === null || other === null) return one === other;
  if (Array.isArray(one)) {
    return Array.isArray(other) && one.length === other.length && one.every((part, i) => sameReply(part, other[i]));
  }
  return replyBytes(one).equals(replyBytes(other));
}

function replyBytes(reply: RawReply): Buffer {
  return Buffer.isBuffer(reply) ? reply : Buffer.from(String(reply));
}
