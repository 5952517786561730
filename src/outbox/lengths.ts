/**
 * How much waits in the outbox of a source, and in its dead-letter stream: asked of the servers
 * now.
 */
import type { StreamConfig } from '../config.js';
import type { DeadLetters } from '../events/dead-letters.js';
import { connectKeyServers } from '../redis/index.js';
import { fullStream } from './dead-letters.js';
import { type OutboxSource, streamsOf } from './sources.js';

interface OutboxLengths {
  /** Entries: records that are not taken yet, and in transactional mode writes under way. */
  readonly entries: number;
  /** Of all its dead-letter streams; null: dead letters go to Kafka. */
  readonly deadLetters: number | null;
  /** One line for each dead-letter stream that takes no more. */
  readonly full: readonly string[];
}

/**
 * @param commandTimeoutMs how long a server is waited for, in ms
 * @param deadLetters what the dead letters are in: not looked at where that is a topic
 * @throws RedisFailure with one line when a server with a part of it does not answer
 */
export async function outboxLengths(
  source: OutboxSource,
  { commandTimeoutMs }: { readonly commandTimeoutMs: number },
  { key, deadLetterKey, maxEntries }: StreamConfig,
  deadLetters: DeadLetters['kind'],
): Promise<OutboxLengths> {
  const servers = connectKeyServers(source.endpoint, { name: source.name, commandTimeoutMs });
  const measure = async (stream: string) => {
    const { reply, place } = await servers.send(stream, ['XLEN', stream]);
    return { stream, place, entries: Number(reply), maxEntries };
  };
  const measureAll = (key: string) => Promise.all(streamsOf(source, key).map(measure));
  const sum = (streams: readonly { entries: number }[]) => streams.reduce((total, { entries }) => total + entries, 0);
  try {
    const outbox = sum(await measureAll(key));
    if (deadLetters === 'topic') return { entries: outbox, deadLetters: null, full: [] };
    const letters = await measureAll(deadLetterKey);
    const full = letters.filter(({ entries }) => entries >= maxEntries).map(fullStream);
    return { entries: outbox, deadLetters: sum(letters), full };
  } finally {
    servers.close();
  }
}
