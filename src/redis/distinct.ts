/** Whether two sides are two. */
import { explained } from './explain.js';
import { RedisFailure } from './failure.js';
import type { RedisPort } from './port.js';

/**
 * A link whose sides are one database under two names (an alias, an address and a name) would find every key equal for ever.
 * @throws RedisFailure with one line when they are one, or when one of them does not tell which process it is
 */
export async function checkDistinct(sides: { readonly source: RedisPort; readonly target: RedisPort }): Promise<void> {
  const { source, target } = sides;
  // Of a Cluster any key's master will do: the same Cluster has the same for it.
  const identify = async (side: RedisPort): Promise<string> => {
    const server = await side.server(Buffer.from('keymend'));
    if (server instanceof RedisFailure) throw explained(server, server.place ?? side.place);
    return server;
  };
  const [ofSource, ofTarget] = await Promise.all([identify(source), identify(target)]);
  if (ofSource !== ofTarget) return;
  throw new RedisFailure('SAME', `${target.place} is the same Redis as ${source.place}; give the link two that differ`);
}
