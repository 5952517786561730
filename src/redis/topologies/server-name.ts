/** A name for the process that answers, and for the data it has: another one after a failover. */
import { RedisFailure } from '../connection/failure.js';

/**
 * One that was a replica meanwhile is the same process, but has the data of another, and got a new
 * history with them.
 * @param info the reply of INFO server
 * @param replication that of INFO replication
 * @param database its number
 */
export function serverName(info: unknown, replication: unknown, database: number): string | RedisFailure {
  const failed = [info, replication].find((each) => each instanceof RedisFailure);
  if (failed instanceof RedisFailure) return failed;
  const [, runId] = /run_id:(\w+)/.exec(String(info)) ?? [];
  const [, history] = /master_replid:(\w+)/.exec(String(replication)) ?? [];
  return runId ? `${runId}/${database} ${history}` : new RedisFailure('ERR', 'INFO names no run_id');
}
