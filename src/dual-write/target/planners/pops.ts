/** What takes elements away is mirrored by what it took, which the source's reply tells. */
import type { Argument } from '../../../commands/arguments.js';
import { type MirrorPlan, replay } from '../replay.js';
import { type Planner, proved } from './planner.js';

/**
 * SPOP chooses at random and ZPOPMIN by order, so the target removes the members that the source
 * took.
 */
function removed(command: 'SREM' | 'ZREM', key: Argument, members: readonly Argument[]): MirrorPlan {
  return replay(command, [key, ...members], { reply: members.length });
}

export const popRandom: Planner = ({ args, reply }) =>
  removed('SREM', args[0]!, (Array.isArray(reply) ? reply : [reply]) as Buffer[]);

/** [member, score, …] or, in RESP3, [[member, score], …] */
export const popScored: Planner = ({ args, reply }) => {
  const parts = reply as (Argument | [Argument])[];
  const members = parts.flatMap((part, index) => (Array.isArray(part) ? [part[0]] : index % 2 === 0 ? [part] : []));
  return removed('ZREM', args[0]!, members);
};

/** [key, member, score] */
export const popScoredBlocking: Planner = ({ reply }) => {
  const [key, member] = reply as [Buffer, Buffer];
  return removed('ZREM', key, [member]);
};

/** [key, [[member, score], …]] */
export const popScoredOfSeveral: Planner = ({ reply }) => {
  const [key, popped] = reply as [Buffer, [Buffer, unknown][]];
  return removed(
    'ZREM',
    key,
    popped.map(([member]) => member),
  );
};

/** [key, element]; what blocks would block the mirror. */
export const popBlocking =
  (command: 'LPOP' | 'RPOP'): Planner =>
  ({ reply }) => {
    const [key, element] = reply as [Buffer, Buffer];
    return replay(command, [key], { reply: element });
  };

/** [key, [element, …]] of count key … LEFT|RIGHT */
export const popOfSeveral =
  (countAt: number): Planner =>
  ({ args, reply }) => {
    const [key, elements] = reply as [Buffer, Buffer[]];
    const side = String(args[countAt + 1 + Number(args[countAt])]).toUpperCase();
    return replay(side === 'LEFT' ? 'LPOP' : 'RPOP', [key, String(elements.length)], { reply: elements });
  };

/** … timeout */
export const withoutBlocking =
  (command: 'LMOVE' | 'RPOPLPUSH'): Planner =>
  (accepted) =>
    proved({ ...accepted, command, args: accepted.args.slice(0, -1) });
