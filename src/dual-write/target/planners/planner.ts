/** How a planner decides, and the decisions that many commands share. */
import type { Write } from '../../source/write.js';
import { isIdle, type MirrorPlan, NOTHING, type RawReply, record, replay } from '../replay.js';

/** A write that the source has carried out. */
export interface Accepted extends Pick<Write, 'command' | 'args'> {
  readonly reply: RawReply;
}

export type Planner = (accepted: Accepted) => MirrorPlan;

/** The effect depends on nothing but the key itself and the arguments. */
export const asItIs: Planner = ({ command, args, reply }) => replay(command, args, { idle: isIdle(reply) });

/**
 * What was taken from the key is in the reply, so the same reply proves the same effect, also on
 * the key it was moved to.
 */
export const proved: Planner = ({ command, args, reply }) =>
  isIdle(reply) ? NOTHING : replay(command, args, { reply });

/**
 * What did nothing on the source is not sent: on a target that is out of step it could do
 * something.
 */
export const unlessIdle =
  (planner: Planner): Planner =>
  (accepted) =>
    isIdle(accepted.reply) ? NOTHING : planner(accepted);

export const recorded =
  (why: string): Planner =>
  ({ command }) =>
    record(`${command} ${why}`);

/** For a form of the command that this version of keymend does not know. */
export function unreadable(command: string): MirrorPlan {
  return record(`${command} was written in a way that keymend does not know`);
}
