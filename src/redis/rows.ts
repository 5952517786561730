/** What the scripts are asked, as rows of cells, and what their answers mean. */

import { RedisFailure } from './connection/failure.js';
import { DIFFERENT } from './content-digest.js';
import { compareDumps, isComparable, typeOfDump } from './dump.js';
import type { MembersRequest, MembersState } from './key-members.js';
import { expiryDigits, type KeyState, NO_EXPIRY } from './key-state.js';
import { packed } from './scripts/packed.js';
import type { Row } from './scripts/script.js';
import type { RowAnswer } from './scripts/script-runner.js';
import type { Change, ObservedState, Reading, ReadRequest } from './whole-key.js';

/** What the script need not compare, it is not told of. */
export function readRow({ key, known }: ReadRequest, isComparedHere = false): Row {
  return isComparedHere || known.digest === '' ? [key, '', ''] : [key, digestBytes(known), known.type];
}

/** A small value's digest is its DUMP, whose first byte is the number of its type. */
function isDump(digest: string): boolean {
  return digest.charCodeAt(0) < 32;
}

/** Here it costs less than on a server. */
export function isComparedHere({ known: { digest } }: ReadRequest): boolean {
  return isDump(digest) && isComparable(digest.charCodeAt(0));
}

export function digestBytes({ digest }: Pick<ObservedState, 'digest'>): Buffer {
  return Buffer.from(digest, 'latin1');
}

export function membersRow({ key, members }: MembersRequest): Row {
  return [key, packed(members)];
}

export function membersState({ cells, serverTimeMs }: RowAnswer): MembersState {
  const [type, expiry, count, ...digests] = cells;
  return {
    type: String(type),
    expiry: Number(expiry),
    count: Number(count),
    digests: digests.map(String),
    serverTimeMs,
  };
}

export function observedState({ cells, serverTimeMs }: RowAnswer): ObservedState {
  const { type, digest, expiry } = keyState(cells[0] as Buffer);
  return { type, digest, expiry, serverTimeMs };
}

/** @param other a DUMP of the other side, to be compared with here */
export function reading({ cells, serverTimeMs }: RowAnswer, [, known]: Row, other: Buffer | null): Reading {
  const [state, content, soonest, value] = cells as Buffer[];
  // Alone it is known on the other side, unless nothing was said of that.
  const isAlone = value === undefined;
  let dump = isAlone && known !== '' ? null : value?.length ? value : dumpIn(state!);
  const verdict = other === null || dump === null ? 'unknown' : compareDumps(other, dump);
  if (verdict === 'equal') dump = null;
  const { type, digest, expiry } = keyState(state!);
  return {
    type,
    digest,
    expiry,
    content: verdict === 'different' ? DIFFERENT : content?.toString() || null,
    dump,
    soonestFieldExpiry: isAlone ? NO_EXPIRY : Number(soonest),
    serverTimeMs,
  };
}

const SPACE = 0x20;

/** `state`: as `stateOf` of lua/values/fingerprint.lua has it. */
function keyState(state: Buffer): KeyState {
  const space = state.indexOf(SPACE);
  const expiry = Number(state.toString('latin1', 0, space));
  const dump = dumpIn(state);
  if (dump !== null) return { type: typeOfDump(dump), digest: dump.toString('latin1'), expiry };
  const [type, digest] = state.toString('latin1', space + 1).split(' ') as [string, string];
  return { type, digest, expiry };
}

/** Of a small value; it begins with the number of its type. */
function dumpIn(state: Buffer): Buffer | null {
  const start = state.indexOf(SPACE) + 1;
  return state[start]! < SPACE ? state.subarray(start) : null;
}

/** @param withinMs how long it may have taken from the observation, in ms */
export function outcome<Outcome extends string>(
  answer: RowAnswer | RedisFailure,
  withinMs: number,
): Outcome | 'changed' | RedisFailure {
  if (answer instanceof RedisFailure) return answer.code === 'OTHERSERVER' ? 'changed' : answer;
  const word = String(answer.cells[0]);
  return word === 'late' ? tooLate(withinMs) : (word as Outcome);
}

function tooLate(withinMs: number): RedisFailure {
  return new RedisFailure(
    'LATE',
    `got what was to be written later than ${withinMs / 1_000} s after its key was looked at there, and dropped it: ` +
      'it, the source, or the network between them and the workers is too slow for this value; look at their load and at that network',
  );
}

export function changeCells(change: Change): (Buffer | string)[] {
  switch (change.action) {
    case 'restore':
      return [
        'restore',
        expiryDigits(change.expiry),
        change.expiryTolerated ? '1' : '0',
        change.content ?? '',
        change.dump,
      ];
    case 'delete':
      // That the two are known to differ needs no look.
      return ['delete', '', '0', change.unless === DIFFERENT ? '' : (change.unless ?? ''), ''];
    case 'expiry':
      return ['expiry', expiryDigits(change.expiry), '0', '', ''];
  }
}
