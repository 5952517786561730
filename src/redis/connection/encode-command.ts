/**
 * Commands as RESP has them, in one buffer: a batch has thousands of arguments, and a buffer for
 * each would cost more than all else.
 */

const DOLLAR = 0x24;
const STAR = 0x2a;
const CR = 0x0d;
const LF = 0x0a;
const ZERO = 0x30;
/** Of a length: the marker, at most ten digits, CR LF. */
const LONGEST_LENGTH = 13;

/** Shorter text is not measured: its UTF-8 has three bytes a character at most. */
const SHORT = 1000;

type Word = Buffer | string;

/** A command by its name and what stands behind that. */
interface NamedCommand {
  readonly command: string;
  readonly args: readonly Word[];
}

/** @see https://redis.io/docs/latest/develop/reference/protocol-spec/ an array of bulk strings */
export function encodeCommand([command, ...args]: readonly [name: string, ...args: Word[]]): Buffer {
  return encodeCommands([{ command, args }]);
}

/** Several commands, one behind the other. */
export function encodeCommands(commands: readonly NamedCommand[]): Buffer {
  let size = 0;
  for (const command of commands) size += largestSize(command);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { command, args } of commands) {
    at = writeLength(bytes, at, STAR, args.length + 1);
    at = writeWord(bytes, at, command);
    for (const word of args) at = writeWord(bytes, at, word);
  }
  return bytes.subarray(0, at);
}

function largestSize({ command, args }: NamedCommand): number {
  let size = LONGEST_LENGTH + largestWord(command);
  for (const word of args) size += largestWord(word);
  return size;
}

function largestWord(word: Word): number {
  const isShort = typeof word === 'string' && word.length < SHORT;
  return LONGEST_LENGTH + 2 + (isShort ? 3 * word.length : Buffer.byteLength(word));
}

/** @returns where to go on */
function writeWord(bytes: Buffer, start: number, word: Word): number {
  const isText = typeof word === 'string';
  let at = writeLength(bytes, start, DOLLAR, isText ? Buffer.byteLength(word) : word.length);
  at += isText ? bytes.write(word, at) : word.copy(bytes, at);
  bytes[at++] = CR;
  bytes[at++] = LF;
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
