/** Whether two sides are two. */
import { explained } from './connection/explain.js';
import { RedisFailure } from './connection/failure.js';
import type { RedisPort } from './port.js';

/**
 * A link whose sides are one database under two names (an alias, an address and a name) would find
 * every key equal for ever.
 * @returns null when they are two. Else one line: with the code `SAME` that they are one, with any
 *   other why it can't be told
 */
export async function checkDistinct(sides: {
  readonly source: RedisPort;
  readonly target: RedisPort;
}): Promise<RedisFailure | null> {
  const { source, target } = sides;
  // Of a Cluster any key's master will do: the same Cluster has the same for it.
  const key = Buffer.from('keymend');
  const [ofSource, ofTarget] = await Promise.all([source.server(key), target.server(key)]);
  if (ofSource instanceof RedisFailure) return untold(ofSource, source);
  if (ofTarget instanceof RedisFailure) return untold(ofTarget, target);
  if (ofSource !== ofTarget) return null;
  return new RedisFailure(
    'SAME',
    `${target.place} is the same Redis as ${source.place}; give the link two that differ`,
  );
}

function untold(failure: RedisFailure, { place }: RedisPort): RedisFailure {
  const { code, message, errno } = explained(failure, failure.place ?? place);
  const told = `INFO server, by which source and target are told apart and large keys gone through, failed: ${message}`;
  return new RedisFailure(code, told, { cause: failure, errno });
}
