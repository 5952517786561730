/** The compressions that kafkajs leaves to others. They are read only: we write none of them. */
import { decompress as zstd } from 'fzstd';
import kafkajs from 'kafkajs';
import lz4 from 'lz4js';
import snappy from 'snappyjs';

// kafkajs is CommonJS, and Node sees only some of its names as named exports.
const { CompressionCodecs, CompressionTypes } = kafkajs;

/** What Java's producers put in front of blocks of Snappy, each with its length in front. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
/** The magic, and two versions of 4 bytes. */
const XERIAL_HEADER_BYTES = 16;

/** Once for the whole process; every client of kafkajs in it then reads them. */
export function registerCodecs(): void {
  register(CompressionTypes.Snappy, fromSnappy);
  register(CompressionTypes.LZ4, (bytes) => lz4.decompress(bytes));
  register(CompressionTypes.ZSTD, (bytes) => zstd(bytes));
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

/** @param bytes one block, as librdkafka and Go write it, or the stream of blocks of Java */
function fromSnappy(bytes: Buffer): Uint8Array {
  if (!bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return snappy.uncompress(bytes);
  const blocks: Uint8Array[] = [];
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length; ) {
    const end = at + 4 + bytes.readInt32BE(at);
    if (end <= at || end > bytes.length) throw new Error('a block of Snappy ends beyond its batch');
    blocks.push(snappy.uncompress(bytes.subarray(at + 4, end)));
    at = end;
  }
  return Buffer.concat(blocks);
}
