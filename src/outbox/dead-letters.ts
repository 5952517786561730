/**
 * Dead letters without Kafka: a stream beside the outbox, with the fields of an entry in the place
 * of Kafka's headers.
 */
import type { Config, StreamConfig } from '../config.js';
import { type DeadLetter, LETTER_ID } from '../events/dead-letter.js';
import { DeadLetterRefused, type DeadLetters } from '../events/dead-letters.js';
import { counted } from '../plural.js';
import { connectKeyServers, type RedisFailure, slotOf } from '../redis/index.js';
import { APPEND, appendArguments, appended, describeSetAside } from './append.js';
import { clusterStreamIndex } from './cluster-streams.js';
import { deadLetterFields } from './entry.js';
import { type OutboxSource, outboxSources, streamsOf } from './sources.js';

/**
 * The dead-letter stream on one source, in a Cluster one beside each stream of the outbox. Connects
 * with the first letter.
 * @param warn gets one line when a stream was something else, which was set aside
 */
export function createStreamDeadLetters(
  source: OutboxSource,
  config: StreamConfig,
  warn: (line: string) => void = () => {},
): DeadLetters {
  const { maxEntries } = config;
  const servers = connectKeyServers(source.endpoint, { name: source.name });
  let isWarned = false;
  const warnOnce = (line: string) => {
    if (!isWarned) warn(line);
    isWarned = true;
  };
  const streamOf = dealing(streamsOf(source, config.key), streamsOf(source, config.deadLetterKey));

  return {
    kind: 'stream',
    async publish(letter) {
      const stream = streamOf(letter);
      const args = appendArguments([deadLetterFields(letter)], maxEntries);
      const id = letter.headers[LETTER_ID];
      const plain = ['EVAL', APPEND, '1', stream, ...args] as const;
      const named = ['EVAL', APPEND, '2', stream, namesOf(stream), ...args, String(id)] as const;
      const { reply, place } = await servers.send(stream, id === undefined ? plain : named).catch((error: unknown) => {
        // Better twice than not at all.
        if (id === undefined || (error as Partial<RedisFailure>).code !== 'NOPERM') throw error;
        warnOnce(`${(error as Error).message}. Until ${namesOf(stream)} may be written, letters can be there twice`);
        return servers.send(stream, plain);
      });
      const { outcome, entries, setAside } = appended(reply);
      if (setAside !== null) warn(describeSetAside(stream, place, setAside));
      if (outcome === 'appended') return;
      throw new DeadLetterRefused('place', fullStream({ stream, place, entries, maxEntries }));
    },
    close: async () => servers.close(),
  };
}

/** Where the names of its letters are: in a Cluster with the same hash tag. */
function namesOf(stream: string): string {
  return `${stream}:ids`;
}

/** One line about a dead-letter stream that takes no more. */
export function fullStream(full: { stream: string; place: string; entries: number; maxEntries: number }): string {
  const { stream, place, entries, maxEntries } = full;
  return (
    `${stream} at ${place} is full (${counted(entries, 'entry', 'entries')}, stream.maxEntries is ${maxEntries}); look at ` +
    'its entries, delete those that are dealt with (XDEL), or raise the limit'
  );
}

/**
 * Beside the stream that the record came from; a record from elsewhere goes where an outbox would
 * have its key.
 */
function dealing(outbox: readonly string[], deadLetters: readonly string[]): (letter: DeadLetter) => string {
  return ({ key, headers }) => {
    if (deadLetters.length === 1) return deadLetters[0]!;
    const origin = outbox.indexOf(String(headers['dlq.original.topic']));
    return deadLetters[origin === -1 ? clusterStreamIndex(slotOf(key ?? Buffer.of())) : origin]!;
  };
}

/**
 * For letters of any link: each goes to the source of the link that its header `dlq.link` names.
 */
export function createLinkDeadLetters({ links, stream }: Config, warn?: (line: string) => void): DeadLetters {
  const streams = outboxSources(links).map((source) => ({
    source,
    letters: createStreamDeadLetters(source, stream, warn),
  }));
  return {
    kind: 'stream',
    async publish(letter) {
      const link = String(letter.headers['dlq.link']);
      const found = streams.find(({ source }) => source.links.includes(link));
      if (found === undefined) {
        const message = `link ${JSON.stringify(link)} is not in the configuration, so its dead letters have no stream; add it`;
        throw new DeadLetterRefused('place', message);
      }
      await found.letters.publish(letter);
    },
    async close() {
      await Promise.all(streams.map(({ letters }) => letters.close()));
    },
  };
}
