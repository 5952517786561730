/**
 * How a write that the source has accepted gets to the target: as it is, by its effect, or as a
 * failed-write record, which makes the reconcile copy the source's state.
 *
 * The rule: a command may be sent if one of these holds.
 * - It changes the target only where that may be out of step anyway: in its own key, about which a
 *   record is then under way.
 * - It carries all that it writes with it.
 * - The target's answer proves that it did the same there.
 *
 * All else is recorded: what computes a value from other keys, or chooses members by their order.
 * It could go wrong on a target that is out of step elsewhere, and nobody would hear of it.
 */
import { isIdempotent } from '../../commands/command.js';
import type { Write } from '../source/write.js';
import { PLANNERS } from './planners/index.js';
import { type MirrorPlan, type RawReply, record } from './replay.js';

/**
 * Never throws: a write must not get lost because its reply looks as no reply should.
 * @param reply the source's reply to the write
 * @param resent whether the write was sent to the source twice, so that the reply may be that of
 *   the second time
 */
export function planMirror(write: Write, reply: RawReply, resent = false): MirrorPlan {
  const { command } = write;
  const plan = planOnce(write, reply);
  // The second time, a condition may no longer hold that held the first time.
  const certain = plan.kind === 'replay' && isIdempotent(command);
  return resent && !certain ? record('ioredis sent the write to the source twice') : plan;
}

function planOnce({ command, args }: Write, reply: RawReply): MirrorPlan {
  const planner = PLANNERS.get(command);
  if (planner === undefined) return record(`keymend does not know how to mirror ${command}`);
  try {
    return planner({ command, args, reply });
  } catch {
    // What was thrown may quote the reply.
    return record(`keymend can't read the source's answer to ${command}`);
  }
}
