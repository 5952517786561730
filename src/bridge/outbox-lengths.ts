/** How much waits in the outbox of a source, and how many of its records nobody could use: asked of the servers now. */
import type { StreamConfig } from '../config.js';
import { explained, KeyServers, RedisFailure } from '../redis/index.js';
import { type OutboxSource, streamsOf } from './outbox-sources.js';

export interface OutboxLengths {
  /** Entries: records that are not taken yet, and in transactional mode writes under way. */
  readonly entries: number;
  /** Of all its dead-letter streams; without Kafka dead letters go there. */
  readonly deadLetters: number;
  /** The dead-letter streams that take no more, which holds up their part of the outbox. */
  readonly full: readonly string[];
}

/** @throws RedisFailure with one line when a server with a part of it does not answer */
export async function outboxLengths(source: OutboxSource, config: StreamConfig): Promise<OutboxLengths> {
  const servers = new KeyServers(source.endpoint, { name: source.name });
  const lengthOf = async (stream: string): Promise<number> => {
    const server = await servers.serverOf(stream);
    if (server instanceof RedisFailure) throw explained(server, servers.place);
    const [length] = await server.send([['XLEN', stream]]);
    if (length instanceof RedisFailure) throw explained(length, server.place);
    return Number(length);
  };
  const sum = (lengths: readonly number[]) => lengths.reduce((total, length) => total + length, 0);
  try {
    const deadLetterStreams = streamsOf(source, config.deadLetterKey);
    const [entries, deadLetters] = await Promise.all([
      Promise.all(streamsOf(source, config.key).map(lengthOf)),
      Promise.all(deadLetterStreams.map(lengthOf)),
    ]);
    const full = deadLetterStreams.filter((_, index) => deadLetters[index]! >= config.maxEntries);
    return { entries: sum(entries), deadLetters: sum(deadLetters), full };
  } finally {
    servers.close();
  }
}
