/** A command as RESP has it, in one buffer: a batch has thousands of arguments, and a buffer for each would cost more than all else. */

const DOLLAR = 0x24;
const STAR = 0x2a;
const CR = 0x0d;
const LF = 0x0a;
const ZERO = 0x30;
/** Of a length: the marker, at most ten digits, CR LF. */
const LONGEST_LENGTH = 13;

/** @see https://redis.io/docs/latest/develop/reference/protocol-spec/ an array of bulk strings */
export function encodeCommand(words: readonly (Buffer | string)[]): Buffer {
  let size = LONGEST_LENGTH;
  for (const word of words) size += LONGEST_LENGTH + 2 + (typeof word === 'string' ? 3 * word.length : word.length);
  const bytes = Buffer.allocUnsafe(size);
  let at = writeLength(bytes, 0, STAR, words.length);
  for (const word of words) {
    const isText = typeof word === 'string';
    at = writeLength(bytes, at, DOLLAR, isText ? Buffer.byteLength(word) : word.length);
    at += isText ? bytes.write(word, at) : word.copy(bytes, at);
    bytes[at++] = CR;
    bytes[at++] = LF;
  }
  return bytes.subarray(0, at);
}

/** @returns where to go on */
function writeLength(bytes: Buffer, start: number, marker: number, length: number): number {
  let digits = 1;
  for (let rest = length; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  bytes[start] = marker;
  let rest = length;
  for (let at = start + digits; at > start; at--) {
    bytes[at] = ZERO + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  const end = start + digits + 1;
  bytes[end] = CR;
  bytes[end + 1] = LF;
  return end + 2;
}
