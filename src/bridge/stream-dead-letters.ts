/** Dead letters without Kafka: a stream beside the outbox, with the fields of an entry in the place of Kafka's headers. */
import type { Config, StreamConfig } from '../config.js';
import { DeadLetterRefused, type DeadLetters } from '../events/kafka.js';
import { deadLetterFields } from '../events/outbox.js';
import { APPEND, appendArguments, appended, Connection, explain, RedisFailure } from '../redis/index.js';
import { type OutboxSource, outboxSources } from './outbox-sources.js';

/** The dead-letter stream on one source. Connects with the first letter. */
export function createStreamDeadLetters(
  source: OutboxSource,
  { deadLetterKey, maxEntries }: StreamConfig,
): DeadLetters {
  const connection = new Connection(source.address, { name: source.name });
  return {
    kind: 'stream',
    async publish(message) {
      const args = appendArguments([deadLetterFields(message)], maxEntries);
      const [reply] = await connection.send([['EVAL', APPEND, '1', deadLetterKey, ...args]]);
      if (reply instanceof RedisFailure) {
        throw new RedisFailure(reply.code, `${connection.place} ${explain(reply)}`, { cause: reply });
      }
      const { outcome, entries } = appended(reply);
      if (outcome === 'appended') return;
      throw new DeadLetterRefused(
        `${deadLetterKey} at ${connection.place} is full (${entries} entries, stream.maxEntries is ${maxEntries}); look at ` +
          'its entries, delete those that are dealt with (XDEL), or raise the limit',
      );
    },
    close: async () => connection.close(),
  };
}

/** For letters of any link: each goes to the source of the link that its header `dlq.link` names. */
export function createLinkDeadLetters({ links, stream }: Config): DeadLetters {
  const streams = outboxSources(links).map((source) => ({ source, letters: createStreamDeadLetters(source, stream) }));
  return {
    kind: 'stream',
    async publish(message) {
      const link = String(message.headers?.['dlq.link']);
      const found = streams.find(({ source }) => source.links.includes(link));
      if (found === undefined) {
        const message = `link ${JSON.stringify(link)} is not in the configuration, so its dead letters have no stream; add it`;
        throw new DeadLetterRefused(message);
      }
      await found.letters.publish(message);
    },
    async close() {
      await Promise.all(streams.map(({ letters }) => letters.close()));
    },
  };
}
