/** A name for the process that answers: after a restart or a failover it is another. */
import { RedisFailure } from '../connection/failure.js';

/**
 * @param info the reply of INFO server
 * @param database its number
 */
export function serverName(info: unknown, database: number): string | RedisFailure {
  if (info instanceof RedisFailure) return info;
  const [, runId] = /run_id:(\w+)/.exec(String(info)) ?? [];
  return runId ? `${runId}/${database}` : new RedisFailure('ERR', 'INFO names no run_id');
}
