/**
 * The compressions that kafkajs leaves to others, which are read only: we write none of them. And
 * its own, for which it makes as much room as they claim.
 */
import { promisify } from 'node:util';
import { unzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import kafkajs from 'kafkajs';
import lz4 from 'lz4js';
import snappy from 'snappyjs';

// kafkajs is CommonJS, and Node sees only some of its names as named exports.
const { CompressionCodecs, CompressionTypes } = kafkajs;

/**
 * What a batch may grow to: of failed writes hundreds of thousands, far more than a producer puts
 * into one. It is decoded as a whole, so what grows to more would end each bridge that meets it.
 */
const MOST_BYTES = 64 * 1024 * 1024;
const TOO_LARGE = 'decompressed it has more than 64 MiB';

/** What Java's producers put in front of blocks of Snappy, each with its length in front. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
/** The magic, and two versions of 4 bytes. */
const XERIAL_HEADER_BYTES = 16;

/** Once for the whole process; every client of kafkajs in it then reads them. */
export function registerCodecs(): void {
  const gzip = CompressionCodecs[CompressionTypes.GZIP]();
  CompressionCodecs[CompressionTypes.GZIP] = () => ({ ...gzip, decompress: fromGzip });
  register(CompressionTypes.Snappy, fromSnappy);
  register(CompressionTypes.LZ4, fromLz4);
  register(CompressionTypes.ZSTD, fromZstd);
}

function register(type: number, decompress: (bytes: Buffer) => Uint8Array): void {
  const codec = {
    compress: async () => {
      throw new Error('keymend writes gzip or nothing');
    },
    decompress: async (bytes: Buffer) => {
      const { buffer, byteOffset, byteLength } = decompress(bytes);
      return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
    },
  };
  CompressionCodecs[type as keyof typeof CompressionCodecs] = () => codec;
}

const unzipped = promisify(unzip);

async function fromGzip(bytes: Buffer): Promise<Buffer> {
  try {
    return await unzipped(bytes, { maxOutputLength: MOST_BYTES });
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? new Error(TOO_LARGE) : error;
  }
}

/** @param bytes one block, as librdkafka and Go write it, or the stream of blocks of Java */
function fromSnappy(bytes: Buffer): Uint8Array {
  if (!bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return fromBlock(bytes, MOST_BYTES);
  const blocks: Uint8Array[] = [];
  let room = MOST_BYTES;
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length; ) {
    const end = at + 4 + bytes.readInt32BE(at);
    if (end <= at || end > bytes.length) throw new Error('a block of Snappy ends beyond its batch');
    const block = fromBlock(bytes.subarray(at + 4, end), room);
    room -= block.length;
    blocks.push(block);
    at = end;
  }
  return Buffer.concat(blocks);
}

/** The lengths of literals behind it say in how many bytes the length is; copies have offsets. */
const [LAST_LITERAL_OF_TAG, OFFSET_BYTES] = [59, [0, 1, 2, 4]];

/**
 * At most 64 bytes are made of three: it makes room for as many as a block says.
 * @param room what the batch may still grow by
 */
function fromBlock(block: Buffer, room: number): Uint8Array {
  const most = 22 * block.length + 64;
  try {
    if (!isWhole(block)) throw new Error('a literal or a copy ends beyond its block');
    return snappy.uncompress(block, Math.min(most, room));
  } catch (error) {
    if (room < most && (error as Error).message.includes('is too big')) throw new Error(TOO_LARGE);
    throw new Error(`Snappy: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * The library takes the longest lengths for negative ones, and then goes round and round. Behind
 * each tag come bytes of a length or an offset, and a literal as long as the tag or these say.
 */
function isWhole(block: Buffer): boolean {
  let at = block.findIndex((byte) => byte < 0x80) + 1;
  while (at < block.length) {
    const [kind, inTag] = [block[at]! & 3, block[at]! >> 2];
    const bytes = kind === 0 ? Math.max(0, inTag - LAST_LITERAL_OF_TAG) : OFFSET_BYTES[kind]!;
    at += 1 + bytes;
    if (at > block.length) return false;
    if (kind === 0) at += 1 + (bytes === 0 ? inTag : block.readUIntLE(at - bytes, bytes));
  }
  return at === block.length;
}

/** Flags, block size and a checksum; in front of that the size of all, where a flag says so. */
const LZ4 = { magic: 0x184d2204, descriptor: 4, withSize: 0x08, withBlockChecksums: 0x10, uncompressed: 0x8000_0000 };
const MOST_OF_BYTE = 255;

/** The library makes room for as much as a frame says, and copies bytes that are not there. */
function fromLz4(frame: Buffer): Uint8Array {
  if (frame.readUInt32LE(0) !== LZ4.magic) throw new Error('its magic number is not that of LZ4');
  const flags = frame.readUInt8(LZ4.descriptor);
  // From 64 KiB to 4 MiB.
  const mostOfBlock = 1 << (8 + 2 * ((frame.readUInt8(LZ4.descriptor + 1) >> 4) & 7));
  let room = 0;
  for (let at = LZ4.descriptor + 3 + (flags & LZ4.withSize ? 8 : 0); at + 4 <= frame.length; ) {
    const said = frame.readUInt32LE(at);
    if (said === 0) break;
    const isCompressed = said < LZ4.uncompressed;
    const size = isCompressed ? said : said - LZ4.uncompressed;
    at += 4 + size + (flags & LZ4.withBlockChecksums ? 4 : 0);
    if (at > frame.length) throw new Error('a block of LZ4 ends beyond its batch');
    room += isCompressed ? Math.min(MOST_OF_BYTE * size, mostOfBlock) : size;
  }
  // A compressed block that is not full counts as far as it could grow.
  if (room > MOST_BYTES) throw new Error(TOO_LARGE);
  return lz4.decompress(frame, room);
}

/** What the reference decoder takes as well (RFC 8878, 3.1.1.1). */
const MOST_OF_WINDOW = 128 * 1024 * 1024;
const ZSTD = { magic: 0xfd2fb528, descriptor: 4, isSingle: 0x20 };

/** The library makes room for the window, or for all of a single segment, as a frame claims it. */
function fromZstd(frame: Buffer): Uint8Array {
  if (frame.readUInt32LE(0) === ZSTD.magic && windowOf(frame) > MOST_OF_WINDOW)
    throw new Error('a frame of zstd wants more than 128 MiB of memory');
  const blocks: Uint8Array[] = [];
  let room = MOST_BYTES;
  const stream = new Decompress((block) => {
    room -= block.length;
    if (room < 0) throw new Error(TOO_LARGE);
    blocks.push(block);
  });
  stream.push(frame, true);
  return Buffer.concat(blocks);
}

function windowOf(frame: Buffer): number {
  const flags = frame.readUInt8(ZSTD.descriptor);
  if ((flags & ZSTD.isSingle) === 0) {
    const window = frame.readUInt8(ZSTD.descriptor + 1);
    return 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
  }
  const at = ZSTD.descriptor + 1 + [0, 1, 2, 4][flags & 3]!;
  const size = [1, 2, 4, 8][flags >> 6]!;
  return size === 8 ? Number(frame.readBigUInt64LE(at)) : frame.readUIntLE(at, size);
}
