/** The dead letters of one stream: read page by page, and closed. */
import { readFileSync } from 'node:fs';
import type { DeadLetter } from '../events/dead-letter.js';
import type { IntakeRecord } from '../events/intake.js';
import { inParts } from '../events/parts.js';
import type { KeyServers } from '../redis/index.js';
import { deadLetterFields, entryRecord } from './entry.js';

const READ = readFileSync(new URL('./lua/read-letters.lua', import.meta.url), 'utf8');
const CLOSE = readFileSync(new URL('./lua/close-letters.lua', import.meta.url), 'utf8');
/**
 * Of one page, and a letter more. A letter has some KB, but may have many MB: the server is not to
 * be held.
 */
const PAGE = { letters: 100, bytes: 1024 * 1024 };
/** In one call: of a script that deletes. */
const CLOSED_AT_ONCE = 500;

type Entry = readonly [id: Buffer, fields: Buffer[] | null] | null;

export class LetterStream {
  readonly #servers: KeyServers;
  readonly key: string;

  constructor(servers: KeyServers, key: string) {
    this.#servers = servers;
    this.key = key;
  }

  /** The ID of the last entry; null: there is none. @throws RedisFailure */
  async end(): Promise<string | null> {
    const { reply } = await this.#servers.send(this.key, ['XREVRANGE', this.key, '+', '-', 'COUNT', '1']);
    return (reply as Entry[])[0]?.[0].toString() ?? null;
  }

  /**
   * Entries behind an ID and up to another, which is included.
   * @param passed undefined: from the beginning
   * @throws RedisFailure
   */
  async *records(passed: string | undefined, end: string): AsyncGenerator<IntakeRecord> {
    for (let from = passed === undefined ? '-' : `(${passed}`; ; ) {
      const args = [from, end, `${PAGE.letters}`, `${PAGE.bytes}`];
      const { reply } = await this.#servers.send(this.key, ['EVAL', READ, '1', this.key, ...args]);
      const entries = reply as Entry[];
      for (const entry of entries)
        if (entry?.[1]) yield entryRecord(this.key, { id: entry[0].toString(), fields: entry[1] });
      const last = entries.at(-1)?.[0].toString();
      if (last === undefined || last === end) return;
      from = `(${last}`;
    }
  }

  /**
   * Deletes entries, and puts one in their place if any of them was there.
   * @throws RedisFailure
   */
  async close(ids: readonly string[], putBack: DeadLetter | null): Promise<void> {
    let deleted = 0;
    for (const part of inParts(ids, () => 0, { bytes: 1, items: CLOSED_AT_ONCE })) {
      // It stands for all of them, so it comes with the first that goes: whoever dies behind that
      // leaves what is still there to the next try, which puts back another one for these.
      const fields = putBack !== null && deleted === 0 ? deadLetterFields(putBack) : [];
      const args = [`${part.length}`, ...part, ...fields];
      const { reply } = await this.#servers.send(this.key, ['EVAL', CLOSE, '1', this.key, ...args]);
      deleted += Number(reply);
    }
  }
}
