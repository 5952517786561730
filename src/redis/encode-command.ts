/** Commands as RESP has them, in one buffer: a batch has thousands of arguments, and a buffer for each would cost more than all else. */

const DOLLAR = 0x24;
const STAR = 0x2a;
const CR = 0x0d;
const LF = 0x0a;
const ZERO = 0x30;
/** Of a length: the marker, at most ten digits, CR LF. */
const LONGEST_LENGTH = 13;

/** Shorter text is not measured: its UTF-8 has three bytes a character at most. */
const SHORT = 1000;

/** @see https://redis.io/docs/latest/develop/reference/protocol-spec/ an array of bulk strings */
export function encodeCommand(words: readonly (Buffer | string)[]): Buffer {
  return encodeCommands([words]);
}

/** Several commands, one behind the other. */
export function encodeCommands(commands: readonly (readonly (Buffer | string)[])[]): Buffer {
  let size = 0;
  for (const words of commands) size += largestSize(words);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const words of commands) at = writeCommand(bytes, at, words);
  return bytes.subarray(0, at);
}

function largestSize(words: readonly (Buffer | string)[]): number {
  let size = LONGEST_LENGTH;
  for (const word of words) {
    const isShort = typeof word === 'string' && word.length < SHORT;
    size += LONGEST_LENGTH + 2 + (isShort ? 3 * word.length : Buffer.byteLength(word));
  }
  return size;
}

/** @returns where to go on */
function writeCommand(bytes: Buffer, start: number, words: readonly (Buffer | string)[]): number {
  let at = writeLength(bytes, start, STAR, words.length);
  for (const word of words) {
    const isText = typeof word === 'string';
    at = writeLength(bytes, at, DOLLAR, isText ? Buffer.byteLength(word) : word.length);
    at += isText ? bytes.write(word, at) : word.copy(bytes, at);
    bytes[at++] = CR;
    bytes[at++] = LF;
  }
  return at;
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
