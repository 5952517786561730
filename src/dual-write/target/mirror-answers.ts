/**
 * What the target's answers say of a mirrored write: that it did what the source did, or why not.
 */
import { isIdempotent } from '../../commands/command.js';
import type { Write } from '../source/write.js';
import type { MirrorFailure } from './mirror-failure.js';
import { agrees, type RawReply, type Replay, sameReply } from './replay.js';

/** A write of the source on its way to the target. */
export interface MirroredWrite {
  readonly write: Write;
  readonly replay: Replay;
  /** What the source answered. */
  readonly reply: RawReply;
  /** When it was given to the source, in `performance.now()`. */
  readonly sinceMs: number;
  /** When the source's reply came, in `performance.now()`. */
  readonly repliedMs: number;
  /** For how long the reply may have waited on its way, beyond what is usual, in ms. */
  readonly heldMs: number;
}

/** Error replies whose text is the server's own and never quotes a command's arguments. */
const FIXED_TEXTS = new Set([
  'READONLY',
  'OOM',
  'LOADING',
  'MISCONF',
  'NOREPLICAS',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'BUSY',
  'NOAUTH',
  'WRONGTYPE',
]);

/** With which an error reply begins. */
export function errorCode({ message }: Error): string | undefined {
  return /^[A-Z]+\b/.exec(message)?.[0];
}

/**
 * The server said no, so it did nothing. An error's text may quote a value, and ioredis attaches
 * the whole command.
 */
export function replyFailure(error: unknown): MirrorFailure {
  const text = (error as Error).message;
  const code = errorCode(error as Error) ?? 'ERR';
  const message = FIXED_TEXTS.has(code) ? text : `the target answered with the error ${code}`;
  return { outcome: 'refused', error: { code, message } };
}

/**
 * Finds writes that did not do the same on both sides: SETNX on a key that the target has and the
 * source had not, INCR of a counter that lacks an earlier INCR. More may differ then than what this
 * write touched.
 * @param answers of the target, one for each write
 */
export function compareReplies(unit: readonly MirroredWrite[], answers: readonly unknown[]): MirrorFailure | undefined {
  const error = answers.find((answer) => answer instanceof Error);
  if (error !== undefined) return replyFailure(error);
  return unit.every((write, index) => didTheSame(write, answers[index])) ? undefined : REPLY_DIFFERS;
}

/** The same for one write. @param answer no error */
export function compareReply(write: MirroredWrite, answer: unknown): MirrorFailure | undefined {
  return didTheSame(write, answer) ? undefined : REPLY_DIFFERS;
}

/** The target has the write. */
export const REPLY_DIFFERS: MirrorFailure = {
  outcome: 'unknown',
  error: {
    code: 'REPLY_DIFFERS',
    message: 'the write did not do the same on both sides: source and target already differed',
  },
  scope: 'whole',
};

function didTheSame({ write, replay, reply }: MirroredWrite, answer: unknown): boolean {
  if (!agrees(replay, answer)) return false;
  // Mirrored by its effect, it has another reply.
  return isIdempotent(write.command) || !isAsItWas(write, replay) || sameReply(reply, answer);
}

function isAsItWas(write: Write, replay: Replay): boolean {
  if (replay.command !== write.command) return false;
  return replay.args === write.args || replay.args.every((argument, at) => argument === write.args[at]);
}
