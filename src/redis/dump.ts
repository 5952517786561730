/**
 * What is in a DUMP, of those types that can be compared without a server: strings, lists, sets and
 * hashes. The format is that of RDB, as all versions since Redis 7 write it, behind which come a
 * version and a checksum.
 */

/** Types by their number in RDB, as TYPE says them; without modules, which have no one name. */
const TYPES: Readonly<Record<number, string>> = {
  ...named('string', 0),
  ...named('list', 1, 10, 14, 18),
  ...named('set', 2, 11, 20),
  ...named('zset', 3, 5, 12, 17),
  ...named('hash', 4, 9, 13, 16),
  ...named('stream', 15, 19, 21),
};

/** The version and the checksum. */
const FOOTER_BYTES = 10;

/** Reads on from where it is. */
interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

/** By number of the type: all elements in Latin-1, of hashes fields and values in turn. */
const ELEMENTS: Readonly<Record<number, (cursor: Cursor) => string[]>> = {
  0: (cursor) => [readText(cursor)],
  2: (cursor) => readTexts(cursor, readLength(cursor)),
  4: (cursor) => readTexts(cursor, 2 * readLength(cursor)),
  11: (cursor) => intset(readString(cursor)),
  16: (cursor) => listpack(readString(cursor), []),
  18: readQuicklist,
  20: (cursor) => listpack(readString(cursor), []),
};

/** As TYPE says it. */
export function typeOfDump(dump: Buffer): string {
  return TYPES[dump[0]!]!;
}

/** @param number of a type in RDB, the first byte of a DUMP */
export function isComparable(number: number): boolean {
  return ELEMENTS[number] !== undefined;
}

type DumpComparison = 'equal' | 'different' | 'unknown';

/**
 * Whether two DUMPs are of the same content, whatever their encodings, the order of what has none
 * and the versions of their servers; `unknown` where this can't be told here.
 */
export function compareDumps(one: Buffer, other: Buffer): DumpComparison {
  if (one.equals(other)) return 'equal';
  const [values, others] = [elements(one), elements(other)];
  if (values === null || others === null) return 'unknown';
  return typeOfDump(one) === typeOfDump(other) ? sameList(values, others) : 'different';
}

/**
 * The same for a DUMP and what a value is to be.
 * @param all texts of a string (one) or fields and values of a hash in turn, in Latin-1
 */
export function compareWith(dump: Buffer, type: 'string' | 'hash', all: readonly string[]): DumpComparison {
  if (typeOfDump(dump) !== type) return 'different';
  const values = elements(dump);
  if (values === null) return 'unknown';
  return sameList(values, type === 'hash' ? pairs(all).sort() : all);
}

function sameList(one: readonly string[], other: readonly string[]): 'equal' | 'different' {
  return one.length === other.length && one.every((value, index) => value === other[index]) ? 'equal' : 'different';
}

/** In one order for all equal values. null: not of a type, or not in a form, that is known here. */
function elements(dump: Buffer): string[] | null {
  const read = ELEMENTS[dump[0]!];
  if (read === undefined) return null;
  const cursor = { bytes: dump, at: 1 };
  let all: string[];
  try {
    all = read(cursor);
  } catch (error) {
    // It reads past the end of what a later version may write in another way.
    if (error instanceof RangeError) return null;
    throw error;
  }
  // Only what was understood to its last byte proves anything.
  if (cursor.at !== dump.length - FOOTER_BYTES) return null;
  switch (typeOfDump(dump)) {
    case 'set':
      return all.sort();
    case 'hash':
      return pairs(all).sort();
    default:
      return all;
  }
}

/** Fields with their values, so that no two read the same. */
function pairs(flat: readonly string[]): string[] {
  const all: string[] = [];
  for (let i = 0; i < flat.length; i += 2) all.push(`${flat[i]!.length}:${flat[i]}${flat[i + 1]}`);
  return all;
}

function readTexts(cursor: Cursor, count: number): string[] {
  const all: string[] = [];
  while (all.length < count) all.push(readText(cursor));
  return all;
}

const PLAIN_NODE = 1;

/** Nodes: an element by itself, or several in a listpack. */
function readQuicklist(cursor: Cursor): string[] {
  const all: string[] = [];
  for (let left = readLength(cursor); left > 0; left--) {
    const isPlain = readLength(cursor) === PLAIN_NODE;
    if (isPlain) all.push(readText(cursor));
    else listpack(readString(cursor), all);
  }
  return all;
}

/** The upper two bits of a length's first byte say its form. */
function readLength(cursor: Cursor): number {
  const { bytes } = cursor;
  const first = bytes[cursor.at++]!;
  if (first < 0x40) return first;
  if (first < 0x80) return ((first & 0x3f) << 8) | bytes[cursor.at++]!;
  const width = first === 0x80 ? 4 : 8;
  cursor.at += width;
  return width === 4 ? bytes.readUInt32BE(cursor.at - 4) : Number(bytes.readBigUInt64BE(cursor.at - 8));
}

const INTEGER = 0xc0;
const COMPRESSED = 0xc3;

function readText(cursor: Cursor): string {
  const { bytes, at } = cursor;
  if (bytes[at]! >= INTEGER) return readString(cursor).toString('latin1');
  const length = readLength(cursor);
  cursor.at += length;
  return bytes.toString('latin1', cursor.at - length, cursor.at);
}

function readString(cursor: Cursor): Buffer {
  const form = cursor.bytes[cursor.at]!;
  if (form < INTEGER) return take(cursor, readLength(cursor));
  cursor.at++;
  if (form === COMPRESSED) {
    const length = readLength(cursor);
    const unpacked = readLength(cursor);
    return decompressed(take(cursor, length), unpacked);
  }
  const width = 1 << (form - INTEGER);
  return Buffer.from(`${take(cursor, width).readIntLE(0, width)}`);
}

function take(cursor: Cursor, count: number): Buffer {
  cursor.at += count;
  return cursor.bytes.subarray(cursor.at - count, cursor.at);
}

/** Three bytes stand for 264 at most. */
const MOST_OF_BYTE = 88;

/** LZF: a control byte, then so many bytes as they are, or how far back the same bytes were. */
function decompressed(packed: Buffer, length: number): Buffer {
  if (length > MOST_OF_BYTE * packed.length) throw new RangeError('so few bytes do not stand for so many');
  const bytes = Buffer.alloc(length);
  for (let at = 0, end = 0; at < packed.length; ) {
    const control = packed[at++]!;
    if (control < 32) {
      end += packed.copy(bytes, end, at, at + control + 1);
      at += control + 1;
      continue;
    }
    const count = 2 + (control >> 5 === 7 ? 7 + packed[at++]! : control >> 5);
    const back = ((control & 31) << 8) + packed[at++]! + 1;
    // One by one: they may reach into what is only now written.
    for (const stop = end + count; end < stop; end++) bytes[end] = bytes[end - back]!;
  }
  return bytes;
}

/** Width of an integer, how many, then each. */
function intset(blob: Buffer): string[] {
  const width = blob.readUInt32LE(0);
  const all: string[] = [];
  for (let at = 8; at < blob.length; at += width) all.push(integer(blob, at, width));
  return all;
}

function integer(bytes: Buffer, at: number, width: number): string {
  return `${width === 8 ? bytes.readBigInt64LE(at) : bytes.readIntLE(at, width)}`;
}

const LISTPACK_HEAD = 6;
const LISTPACK_END = 0xff;
/** By the first byte of an entry from here on: the width of the integer behind it. */
const INTEGERS = 0xf1;
const WIDTHS = [2, 3, 4, 8];

/** Adds its elements to `all`. */
function listpack(blob: Buffer, all: string[]): string[] {
  let at = LISTPACK_HEAD;
  /** Of a text whose length takes `head` bytes. */
  const text = (head: number, length: number) => {
    all.push(blob.toString('latin1', at + head, at + head + length));
    return head + length;
  };
  const number = (value: number | string, size: number) => {
    all.push(`${value}`);
    return size;
  };
  for (let first = blob.readUInt8(at); first !== LISTPACK_END; first = blob.readUInt8(at)) {
    const second = blob[at + 1]!;
    let size: number;
    if (first < 0x80) size = number(first, 1);
    else if (first < 0xc0) size = text(1, first & 0x3f);
    else if (first < 0xe0) size = number(((((first & 0x1f) << 8) | second) << 19) >> 19, 2);
    else if (first < 0xf0) size = text(2, ((first & 0x0f) << 8) | second);
    else if (first < INTEGERS) size = text(5, blob.readUInt32LE(at + 1));
    else size = number(integer(blob, at + 1, widthOf(first)), 1 + widthOf(first));
    at += size + backLength(size);
  }
  return all;
}

function widthOf(first: number): number {
  const width = WIDTHS[first - INTEGERS];
  if (width === undefined) throw new RangeError('no entry of a listpack begins so');
  return width;
}

/** Behind each entry its size stands once more, in seven bits a byte. */
function backLength(size: number): number {
  if (size < 128) return 1;
  if (size < 16_383) return 2;
  if (size < 2_097_151) return 3;
  return size < 268_435_455 ? 4 : 5;
}

function named(type: string, ...numbers: number[]): Record<number, string> {
  return Object.fromEntries(numbers.map((number) => [number, type]));
}
