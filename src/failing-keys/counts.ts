/** How many distinct keys of a link failed, as its source has counted them. */
import { type Command, connectKeyServers, explained, RedisFailure } from '../redis/index.js';
import { beginningOf, type CountingLink, countKey, HOUR_MS, HOURS_TOLD, hourAt } from './names.js';

/** About: such a count is wrong by 1 % most of the time. */
export interface FailingKeyCounts {
  readonly thisHour: number;
  /** The present hour and 24 before it. A key that failed in several hours counts once. */
  readonly lastDay: number;
  /** Those in which any failed, the newest first. */
  readonly hours: readonly { readonly from: string; readonly keys: number }[];
}

/** @throws RedisFailure with one line when the source does not answer */
export async function countFailingKeys(
  link: CountingLink,
  { commandTimeoutMs, now = Date.now() }: { readonly commandTimeoutMs: number; readonly now?: number },
): Promise<FailingKeyCounts> {
  const hours = Array.from({ length: HOURS_TOLD + 1 }, (_, back) => hourAt(now - back * HOUR_MS));
  const names = hours.map((hour) => countKey(link, hour));
  const servers = connectKeyServers(link.source, { name: 'source', commandTimeoutMs });
  try {
    const server = await servers.serverOf(names[0]!);
    if (server instanceof RedisFailure) throw explained(server, servers.place);
    const commands: Command[] = [['PFCOUNT', ...names], ...names.map((name): Command => ['PFCOUNT', name])];
    const replies = await server.send(commands);
    const counts = replies.map((reply) => {
      if (reply instanceof RedisFailure) throw explained(reply, server.place);
      return Number(reply);
    });
    const [lastDay, ...each] = counts;
    const rows = hours.map((hour, index) => ({ from: new Date(beginningOf(hour)).toISOString(), keys: each[index]! }));
    return { thisHour: each[0]!, lastDay: lastDay!, hours: rows.filter(({ keys }) => keys > 0) };
  } finally {
    servers.close();
  }
}
