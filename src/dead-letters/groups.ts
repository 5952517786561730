/** Letters counted by what they have in common. */
import type { EncodedKey } from '../../workflows/failed-write.js';
import { MOST_REDRIVES } from '../../workflows/redrive-messages.js';
import { encodeKey } from '../events/failed-write-codec.js';
import { adviceFor } from './advice.js';
import { fingerprintOf } from './filter.js';
import { type Letter, nameOf } from './letter.js';

/** Times are ISO 8601, UTC. */
interface LetterGroup {
  /** The fingerprint: of the next four. */
  readonly group: string;
  readonly reason: string;
  readonly errorType: string | null;
  readonly link: string | null;
  readonly prefix: string;
  readonly letters: number;
  /** Of these, those that were redriven as often as they may be. */
  readonly exhausted: number;
  readonly firstAt: string;
  readonly lastAt: string;
  /** The name of the first letter, and its key. */
  readonly example: string;
  readonly exampleKey: EncodedKey | null;
  /** What to do, and then the command. */
  readonly step: string;
  readonly next: string;
}

export interface LetterGroups {
  readonly letters: number;
  /** The largest first. */
  readonly groups: readonly LetterGroup[];
  /** Letters of further groups than are told apart. */
  readonly others: number;
}

/** More than a person looks at; what keys begin with may be anything. */
const MOST_GROUPS = 1_000;

/** Bounded, however many letters there are. */
export async function grouped(letters: AsyncIterable<Letter>): Promise<LetterGroups> {
  const groups = new Map<string, { first: Letter; letters: number; exhausted: number; from: number; to: number }>();
  let [count, others] = [0, 0];
  for await (const letter of letters) {
    count += 1;
    const name = fingerprintOf(letter);
    let group = groups.get(name);
    if (group === undefined) {
      if (groups.size >= MOST_GROUPS) {
        others += 1;
        continue;
      }
      group = { first: letter, letters: 0, exhausted: 0, from: letter.at, to: letter.at };
      groups.set(name, group);
    }
    group.letters += 1;
    group.exhausted += Number(letter.redriven >= MOST_REDRIVES);
    group.from = Math.min(group.from, letter.at);
    group.to = Math.max(group.to, letter.at);
  }
  const sorted = [...groups].sort(([, one], [, other]) => other.letters - one.letters);
  return {
    letters: count,
    groups: sorted.map(([group, { first, letters, exhausted, from, to }]) => {
      const { reason, errorType, link, prefix, place, record } = first;
      const { isRedrivable, step } = adviceFor(reason, errorType);
      const isOpen = isRedrivable && exhausted < letters;
      return {
        group,
        reason,
        errorType: errorType ?? null,
        link: link ?? null,
        prefix,
        letters,
        exhausted,
        firstAt: new Date(from).toISOString(),
        lastAt: new Date(to).toISOString(),
        example: nameOf(place),
        exampleKey: record.key === null ? null : encodeKey(record.key),
        step,
        next: isOpen ? `npx keymend dlq redrive --group ${group}` : `npx keymend dlq show ${nameOf(place)}`,
      };
    }),
    others,
  };
}
