/** The end of the source client, also where ioredis tells nobody of it. */
import type { Cluster, Redis } from 'ioredis';

/**
 * @param ended is called when the client will send nothing more by itself. Ended while it waits to
 *   connect anew, ioredis emits no event and settles nothing of what it has.
 */
export function onSourceEnd(source: Redis | Cluster, ended: () => void): void {
  source.on('end', ended);
  // `quit` of a single server comes to `disconnect` itself, and so does whoever ends the client
  // past the writer. Hence not only the writer's own methods.
  for (const name of source.isCluster ? (['disconnect', 'quit'] as const) : (['disconnect'] as const)) {
    const own = source[name] as (...args: unknown[]) => unknown;
    const observed = function (this: unknown, ...args: unknown[]) {
      const wasWaiting = source.status === 'reconnecting';
      const result = own.apply(this, args);
      // disconnect(true) goes on waiting.
      if (wasWaiting && args[0] !== true) ended();
      return result;
    };
    Reflect.set(source, name, observed);
  }
}
