/** Letters as failed writes again: those of one key are one. */
import { type BatchWrite, packed } from '../../workflows/batch-messages.js';
import type { FailedWrite, LinkPolicy } from '../../workflows/messages.js';
import { type Links, partsOf } from '../bridge/group.js';
import { mergeWrites } from '../bridge/merge.js';
import { type LinkConfig, linkPolicy } from '../config.js';
import type { Letter } from './letter.js';

/** A letter that says which key is to be repaired. */
export interface UsableLetter {
  readonly link: LinkConfig;
  readonly key: Buffer;
  readonly event: FailedWrite;
  readonly letter: Letter;
}

/** @returns null for one that is no failed write, or of no link of this configuration */
function usable(letter: Letter, links: Links): UsableLetter | null {
  const item = read(letter, links);
  if (item?.kind !== 'key') return null;
  return { link: item.link, key: item.key, event: item.writes[0]!.event, letter };
}

/** @returns undefined for what of a damaged batch is left, which says nothing */
function read({ record }: Letter, links: Links) {
  return [...partsOf([record], links)][0]!.items[0];
}

/** All letters of one key that are looked at together. */
interface LettersOfKey {
  readonly link: LinkConfig;
  /** Raw bytes. */
  readonly key: Buffer;
  readonly letters: readonly Letter[];
}

export class LettersByKey {
  readonly #keys = new Map<string, { link: LinkConfig; key: Buffer; letters: Letter[]; events: FailedWrite[] }>();
  readonly #links: Links;

  constructor(links: Links) {
    this.#links = links;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** @returns null for one that is no failed write of a link of this configuration */
  read(letter: Letter): UsableLetter | null {
    return usable(letter, this.#links);
  }

  has(letter: UsableLetter): boolean {
    return this.#keys.has(nameOfKey(letter));
  }

  add({ link, key, event, letter }: UsableLetter): void {
    const name = nameOfKey({ link, key });
    const known = this.#keys.get(name) ?? { link, key, letters: [], events: [] };
    this.#keys.set(name, known);
    known.letters.push(letter);
    known.events.push(event);
  }

  /** The keys of each link, with what its letters say together. */
  byLink(): readonly { readonly link: string; readonly policy: LinkPolicy; readonly keys: readonly KeyToTry[] }[] {
    const links = new Map<string, { link: string; policy: LinkPolicy; keys: KeyToTry[] }>();
    for (const { link, key, letters, events } of this.#keys.values()) {
      const one = links.get(link.name) ?? { link: link.name, policy: linkPolicy(link), keys: [] };
      links.set(link.name, one);
      one.keys.push({ link, key, letters, write: packed(mergeWrites(events)) });
    }
    return [...links.values()];
  }
}

/** Link names have no spaces. */
function nameOfKey({ link, key }: Pick<UsableLetter, 'link' | 'key'>): string {
  return `${link.name} ${key.toString('base64')}`;
}

interface KeyToTry extends LettersOfKey {
  readonly write: BatchWrite;
}

/**
 * What letters of one key say together, whether or not this configuration has their link: another
 * worker has tried them, and none may be left out.
 * @returns null: one letter says it itself
 * @throws Error in one line where one of them can't be read
 */
export function eventOf(letters: readonly Letter[], links: Links): FailedWrite | null {
  if (letters.length === 1) return null;
  const events = letters.map((letter) => {
    const item = read(letter, links);
    const event = item?.kind === 'key' ? item.writes[0]!.event : item?.failure.event;
    if (event !== undefined) return event;
    throw new Error('a letter that another worker has tried can not be read by this one; bring them to one release');
  });
  return mergeWrites(events);
}
