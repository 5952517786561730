/** What the target is sent for the writes of streams that leave something to the server. */
import { type Argument, isToken } from '../../../commands/arguments.js';
import { isIdle, record, replay } from '../replay.js';
import { type Planner, unreadable } from './planner.js';

/**
 * XADD may leave the ID to the server, so the target gets the one that the source gave. With MAXLEN
 * ~ or MINID ~ the target trims by its own layout in memory: it may keep some of the oldest entries
 * longer or shorter than the source, as the application has allowed by `~`.
 */
export const planStreamAppend: Planner = ({ args, reply }) => {
  const index = streamIdIndex(args);
  if (index === undefined) return unreadable('XADD');
  return replay('XADD', args.with(index, reply as Buffer), { idle: false });
};

/**
 * CREATE|SETID key group id …: `$` is the source's last ID, which the target may not have yet, or
 * no longer.
 */
export const planStreamGroup: Planner = ({ command, args, reply }) => {
  const names = ['CREATE', 'SETID'].some((word) => isToken(args[0]!, word));
  if (names && isToken(args[3] ?? '', '$')) return record('XGROUP with $ depends on the moment it runs');
  return replay(command, args, { idle: isIdle(reply) });
};

/**
 * Where in `key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] <* | id> field value …`
 * the ID stands.
 */
function streamIdIndex(args: readonly Argument[]): number | undefined {
  let index = 1;
  while (index < args.length) {
    const argument = args[index]!;
    if (/^(\*|\d+(-(\*|\d+))?)$/.test(argument.toString())) return index;
    if (isToken(argument, 'MAXLEN') || isToken(argument, 'MINID')) {
      index += isToken(args[index + 1] ?? '', '=') || isToken(args[index + 1] ?? '', '~') ? 3 : 2;
    } else if (isToken(argument, 'LIMIT')) index += 2;
    else if (['NOMKSTREAM', 'KEEPREF', 'DELREF', 'ACKED'].some((word) => isToken(argument, word))) index += 1;
    else return undefined;
  }
  return undefined;
}
