/** One step of a redrive: which letters it takes, and how they are closed behind it. */
import type {
  CloseLettersRequest,
  Offsets,
  OffsetsByPart,
  TryLettersRequest,
} from '../../workflows/redrive-messages.js';
import type { Links } from '../bridge/group.js';
import { putBackLetter } from '../events/dead-letter.js';
import { eventOf } from './by-key.js';
import { isMeant } from './filter.js';
import { type Letter, nameOf, REDRIVE_ID } from './letter.js';
import type { Closing, LetterStore } from './store.js';
import { Taken, type WaitsFor } from './taken.js';

interface Step {
  readonly taken: Taken;
  readonly passed: Offsets;
  readonly ends: Offsets;
  /** As in `TryLettersReply`. */
  readonly storeId: string | null;
  readonly isLast: boolean;
}

/** The topic was deleted and made anew: its offsets stand for other letters. */
export class AnotherTopic extends Error {
  override readonly name = 'AnotherTopic';
}

/**
 * Reads on until there is enough for one step. A letter of a key that is in the step is taken with
 * it, so that many letters of a key are one repair.
 * @throws AnotherTopic; any other Error, in one line, when they can't be read
 */
export async function readStep(
  store: LetterStore,
  request: Omit<TryLettersRequest, 'again'>,
  links: Links,
  waitsFor: WaitsFor = async () => null,
): Promise<Step> {
  const { filter, action, mostLetters } = request;
  // Asked first: what is read behind it is of this topic, or closing it will find another one.
  const storeId = await sameStore(store, request.storeId);
  const ends = request.ends ?? (await store.ends());
  const passed: Record<string, string> = { ...request.passed };
  const taken = new Taken(links, request, waitsFor);
  const reply = (isLast: boolean): Step => ({ taken, passed: isLast ? ends : passed, ends, storeId, isLast });
  const now = Date.now();
  for await (const letter of store.letters({ passed, ends, about: mostLetters })) {
    if (taken.isFull) return reply(false);
    if (isMeant(letter, filter, now)) {
      const hadRoom = action === 'discard' ? taken.discard(letter) : await taken.try(letter);
      if (!hadRoom) return reply(false);
    }
    passed[letter.place.part] = letter.place.offset;
  }
  return reply(true);
}

/** @throws AnotherTopic where offsets of before mean nothing any more */
async function sameStore(store: LetterStore, before: string | null = null): Promise<string | null> {
  const now = await store.id();
  if (now === null || before === null || now === before) return now ?? before;
  throw new AnotherTopic(
    `${store.name} was deleted and made anew meanwhile: the letters that were being redriven are gone with it, and those ` +
      'that are there now were left as they are. Begin again; keys whose letters are gone are found by a sweep',
  );
}

/** Where letters are, by part. */
export function offsetsOf(letters: readonly Letter[]): OffsetsByPart {
  const offsets: Record<string, string[]> = {};
  for (const { place } of letters) {
    offsets[place.part] ??= [];
    offsets[place.part]!.push(place.offset);
  }
  return offsets;
}

/**
 * Resolves letters, and puts back those that failed.
 * @throws AnotherTopic; any other Error, in one line, when its store does not take that
 */
export async function closeLetters(store: LetterStore, request: CloseLettersRequest, links: Links): Promise<void> {
  const { redriveId, order, resolved, failed, passed, ends, storeId } = request;
  const at = new Date().toISOString();
  const note = { [REDRIVE_ID]: redriveId, 'dlq.redrive.by': order.by, 'dlq.redrive.last_at': at };
  const closings: Closing[] = resolved.flatMap(({ end, offsets }) =>
    Object.entries(offsets).map(([part, ofPart]) => {
      const why = order.reason === undefined ? {} : { 'dlq.resolution.reason': order.reason };
      return { part, offsets: ofPart, putBack: null, note: { ...note, 'dlq.resolution': end, ...why } };
    }),
  );
  const wanted = new Set(failed.flatMap(({ offsets }) => namesOf(offsets)));
  const letters = new Map<string, Letter>();
  if (wanted.size > 0) {
    for await (const letter of store.letters({ passed, ends, about: wanted.size })) {
      const name = nameOf(letter.place);
      if (wanted.has(name)) letters.set(name, letter);
    }
  }
  for (const { offsets, error, attempts } of failed) {
    for (const [part, ofPart] of Object.entries(offsets)) {
      // What is not open any more was put back, or resolved by somebody else.
      const open = ofPart.flatMap((offset) => letters.get(nameOf({ part, offset })) ?? []);
      const newest = open.at(-1);
      if (newest === undefined) continue;
      const count = Math.max(...open.map(({ redriven }) => redriven)) + 1;
      const putBack = putBackLetter(newest.record, eventOf(open, links), { redriveId, at, count, error, attempts });
      closings.push({ part, offsets: open.map(({ place }) => place.offset), putBack, note });
    }
  }
  await sameStore(store, storeId);
  await store.close(closings);
}

function namesOf(offsets: OffsetsByPart): string[] {
  return Object.entries(offsets).flatMap(([part, ofPart]) => ofPart.map((offset) => nameOf({ part, offset })));
}
