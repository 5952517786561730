/** Inputs for parsers: valid ones, changed byte by byte. */
import * as fc from 'fast-check';

/**
 * Stands in each valid input where a user's value may stand, a secret in a configuration too. No
 * name has a `~`: names may be shown.
 */
export const CANARY = 'CAN~ARY';

/** What parsers take for a sign of something. */
const SIGNS = [
  ...['', '\0', '\n', '\r\n', '"', "'", '`', '\\', '{', '}', '[', ']', '(', ')', ':', ': ', ',', '-', '+', '.', '/'],
  ...[
    '*',
    '&',
    '!',
    '!!binary ',
    '|',
    '>',
    '#',
    '%',
    '@',
    '?',
    '$',
    '${A}',
    '<<: ',
    '---\n',
    '  ',
    '\t',
    '=',
    '^',
    ';',
  ],
  ...['null', 'true', '0', '-1', '1e999', '9007199254740993', '18446744073709551616', 'NaN', '__proto__', '[[[[[[[['],
  ...['\u2028', '\u202e', '\ufeff', '\ud83d\ude00', '\u001b]0;', '\\u0000', '\\ud800', 'é', CANARY],
].map((sign) => Buffer.from(sign));
const BYTES = [0x00, 0x01, 0x7f, 0x80, 0xc0, 0xc3, 0xf0, 0xf4, 0xfe, 0xff].flatMap((byte) =>
  [1, 2, 4, 8].map((length) => Buffer.alloc(length, byte)),
);
const PIECES = [...SIGNS, ...BYTES];

type Mutation = readonly [kind: number, at: number, length: number, more: number];

const mutation: fc.Arbitrary<Mutation> = fc.tuple(fc.nat(6), fc.nat(), fc.nat(), fc.nat());

/** @param others inputs from which a part may come */
function mutate(input: Buffer, [kind, where, long, more]: Mutation, others: readonly Buffer[]): Buffer {
  const at = where % (input.length + 1);
  const behind = at + (long % Math.min(64, input.length + 1 - at));
  const put = (piece: Buffer, rest = at) => Buffer.concat([input.subarray(0, at), piece, input.subarray(rest)]);
  switch (kind) {
    case 0:
      return put(Buffer.from([more & 0xff]), Math.min(at + 1, input.length));
    case 1:
      return put(Buffer.of(), behind);
    case 2:
      return put(PIECES[more % PIECES.length]!);
    case 3:
      return put(PIECES[more % PIECES.length]!, behind);
    case 4:
      // Said twice, or very often.
      return put(Buffer.concat(Array.from({ length: 1 + (more % 8) ** 2 }, () => input.subarray(at, behind))));
    case 5: {
      const other = others[more % others.length]!;
      const from = long % (other.length + 1);
      return put(other.subarray(from, from + (where % 64)));
    }
    default:
      return input.subarray(0, at);
  }
}

/** @param valid at least one */
export function mutated(valid: readonly Buffer[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.nat(valid.length - 1), fc.array(mutation, { minLength: 1, maxLength: 5 }))
    .map(([which, mutations]) => mutations.reduce((input, each) => mutate(input, each, valid), valid[which]!));
}
