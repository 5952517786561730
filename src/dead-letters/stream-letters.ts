/** Dead letters in streams on the sources: what is resolved is deleted there. */
import type { StreamIntakeConfig } from '../config.js';
import { LetterStream } from '../outbox/letter-stream.js';
import { outboxSources, streamsOf } from '../outbox/sources.js';
import { connectKeyServers, type KeyServers } from '../redis/index.js';
import { type Letter, letterOf } from './letter.js';
import { type LetterStore, oldestFirst } from './store.js';

/** Connects with the first use. */
export function openStreamLetters({ links, stream: { deadLetterKey } }: StreamIntakeConfig): LetterStore {
  const sources = outboxSources(links);
  const servers: KeyServers[] = [];
  const streams = new Map(
    sources.flatMap((source) => {
      const server = connectKeyServers(source.endpoint, { name: source.name });
      servers.push(server);
      return streamsOf(source, deadLetterKey).map((key) => {
        // The same key is on each source.
        const part = sources.length === 1 ? key : `${source.links[0]}:${key}`;
        return [part, new LetterStream(server, key)] as const;
      });
    }),
  );

  const ends = async () => {
    const found = await Promise.all([...streams].map(async ([part, stream]) => [part, await stream.end()] as const));
    return Object.fromEntries(found.flatMap(([part, end]) => (end === null ? [] : [[part, end] as const])));
  };

  async function* lettersOf(part: string, passed: string | undefined, end: string): AsyncGenerator<Letter> {
    // The ID of its entry says when that was.
    for await (const record of streams.get(part)!.records(passed, end))
      yield letterOf(part, record, Number(record.position.timestamp));
  }

  return {
    name: `${deadLetterKey} on the ${sources.map(({ name }) => name).join(', ')}`,
    // The time is in them.
    id: async () => null,
    ends,

    async *letters({ passed = {}, ends: until }) {
      const upTo = Object.entries(until ?? (await ends())).filter(([part]) => streams.has(part));
      yield* oldestFirst(upTo.map(([part, end]) => lettersOf(part, passed[part], end)));
    },

    async close(closings) {
      for (const { part, offsets, putBack } of closings) await streams.get(part)?.close(offsets, putBack);
    },

    async disconnect() {
      for (const server of servers) server.close();
    },
  };
}
