/** A cached value that is larger than any that its row can say is stale: it is deleted. */
import { LARGE, NO_TYPE, RedisFailure } from '../../redis/index.js';
import type { Link } from '../contract.js';
import { AGAIN, failed, type RoundResult } from '../round.js';

/**
 * @returns `again` when it is not large any more, or was written meanwhile
 * @throws the signal's reason when it aborts; then nothing was written
 */
export async function dropLargeKey(link: Link, key: Buffer, signal: AbortSignal | undefined): Promise<RoundResult> {
  const { target } = link;
  const watch = await target.watch(key);
  if (watch instanceof RedisFailure) return failed(link, watch, 'target', 'read');
  try {
    // Behind the beginning of the watch: what is written from here on breaks it.
    const [state] = await target.inspect([key], { atMaster: true });
    if (state instanceof RedisFailure) return failed(link, state, 'target', 'read');
    if (state!.digest !== LARGE || state!.type === NO_TYPE) return AGAIN;
    signal?.throwIfAborted();
    const outcome = await watch.write({ action: 'delete' });
    if (outcome instanceof RedisFailure) return failed(link, outcome, 'target', 'write');
    if (outcome === 'changed') return AGAIN;
    return { outcome: 'repaired', action: 'deleted', type: watch.state.type, bytes: 0 };
  } finally {
    watch.close();
  }
}
