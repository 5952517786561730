/** One step of a redrive: which letters it takes, and how they are closed behind it. */
import {
  type CloseLettersRequest,
  MOST_REDRIVES,
  type Offsets,
  type OffsetsByPart,
  type TryLettersRequest,
} from '../../workflows/redrive-messages.js';
import type { Links } from '../bridge/group.js';
import { putBackLetter } from '../events/dead-letter.js';
import { eventOf, LettersByKey } from './by-key.js';
import { isMeant } from './filter.js';
import { type Letter, nameOf, REDRIVE_ID } from './letter.js';
import type { Closing, LetterStore } from './store.js';

/** Letters that are gone through in one step though nothing can be done with them. */
const MOST_LEFT = 10_000;

interface Step {
  readonly keys: LettersByKey;
  /** To be discarded. */
  readonly discarded: readonly Letter[];
  readonly passed: Offsets;
  readonly ends: Offsets;
  readonly isLast: boolean;
  /** Letters that are left as they are. */
  readonly unusable: number;
  readonly exhausted: number;
}

/**
 * Reads on until there is enough for one step. A letter of a key that is in the step is taken with
 * it, so that many letters of a key are one repair.
 * @throws Error in one line when they can't be read
 */
export async function readStep(store: LetterStore, request: TryLettersRequest, links: Links): Promise<Step> {
  const { filter, action, mostKeys, mostLetters } = request;
  const ends = request.ends ?? (await store.ends());
  const passed: Record<string, string> = { ...request.passed };
  const keys = new LettersByKey(links);
  const discarded: Letter[] = [];
  let [taken, unusable, exhausted] = [0, 0, 0];
  const reply = (isLast: boolean): Step => {
    return { keys, discarded, passed: isLast ? ends : passed, ends, isLast, unusable, exhausted };
  };
  const now = Date.now();
  for await (const letter of store.letters({ passed, ends, about: mostLetters })) {
    if (taken >= mostLetters || unusable + exhausted >= MOST_LEFT) return reply(false);
    if (isMeant(letter, filter, now)) {
      if (action === 'discard') {
        discarded.push(letter);
        taken += 1;
      } else if (letter.redriven >= MOST_REDRIVES) exhausted += 1;
      else {
        const added = keys.add(letter, mostKeys);
        if (added === 'full') return reply(false);
        if (added === 'taken') taken += 1;
        else unusable += 1;
      }
    }
    passed[letter.place.part] = letter.place.offset;
  }
  return reply(true);
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

/** Resolves letters, and puts back those that failed. @throws Error in one line */
export async function closeLetters(store: LetterStore, request: CloseLettersRequest, links: Links): Promise<void> {
  const { redriveId, order, resolved, failed, passed, ends } = request;
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
  await store.close(closings);
}

function namesOf(offsets: OffsetsByPart): string[] {
  return Object.entries(offsets).flatMap(([part, ofPart]) => ofPart.map((offset) => nameOf({ part, offset })));
}
