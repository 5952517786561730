/**
 * A batch of records that can't be read (damaged bytes, a compression that nobody knows) must not
 * stand in the way of what is behind it. kafkajs fails the whole fetch, of every partition, and
 * does not look at checksums. So its decoder of batches is replaced by one that puts a single
 * message in the place of such a batch.
 */
import { createRequire } from 'node:module';
import type { KafkaMessage } from 'kafkajs';
import { MOST_HEADERS } from '../headers.js';
import { registerCodecs } from './codecs.js';
import { crc32c } from './crc32c.js';

/** The records that can't be read: all of the offsets between the two, which are among them. */
interface Unreadable {
  readonly firstOffset: string;
  readonly lastOffset: string;
  /** For a person, without a value of a user's data. */
  readonly reason: string;
}

/** kafkajs' own reader of bytes, as far as it is needed. */
interface Decoder {
  readonly buffer: Buffer;
  offset: number;
  readVarInt(): number;
  /** Of nothing but the headers of a record. */
  readVarIntArray(read: unknown): unknown[];
}
type DecodeBatch = (decoder: Decoder) => Promise<object>;

/** Of bytes. */
const READER = 'kafkajs/src/protocol/decoder';
const DECODER = 'kafkajs/src/protocol/recordBatch/v0/decoder';
/** Where the fields of a batch are, in bytes from its beginning. */
const AT = { offset: 0, length: 8, crc: 17, attributes: 21, lastDelta: 23, maxTimestamp: 35, count: 57, records: 61 };
/** What `length` does not count. */
const BEFORE_LENGTH = 12;
const COMPRESSION_MASK = 0x07;
const LAST_COMPRESSION = 4;

const unreadable = new WeakMap<KafkaMessage, Unreadable>();
let isInstalled = false;

/** What could not be read, where a message only stands for it. Its offset is the last of these. */
export function unreadableOf(message: KafkaMessage): Unreadable | undefined {
  return unreadable.get(message);
}

/**
 * Once for the whole process, before the first fetch: kafkajs loads its decoder only then.
 * @throws Error when this kafkajs has no such decoder
 */
export function readWhatCanBeRead(): void {
  if (isInstalled) return;
  isInstalled = true;
  registerCodecs();
  const require = createRequire(import.meta.url);
  boundHeaders(require(READER));
  const decode: DecodeBatch = require(DECODER);
  require.cache[require.resolve(DECODER)]!.exports = (decoder: Decoder) => decodeBatch(decoder, decode);
}

/** kafkajs makes a list as long as a record says, whatever there is of it. */
function boundHeaders({ prototype }: { readonly prototype: Decoder }): void {
  const { readVarIntArray } = prototype;
  prototype.readVarIntArray = function (this: Decoder, read) {
    const { offset } = this;
    const count = this.readVarInt();
    if (count > MOST_HEADERS) throw new Error(`a record in it has more than ${MOST_HEADERS} headers`);
    this.offset = offset;
    return readVarIntArray.call(this, read);
  };
}

/** Empty ones take some bytes in a batch, and some hundred here. */
const MOST_RECORDS = 500_000;

async function decodeBatch(decoder: Decoder, decode: DecodeBatch): Promise<object> {
  const batch = decoder.buffer.subarray(decoder.offset);
  const end = BEFORE_LENGTH + batch.readInt32BE(AT.length);
  // Cut off by the limit of the fetch: kafkajs knows what to do with it.
  if (end < AT.records || end > batch.length) return decode(decoder);
  const behind = decoder.offset + end;
  try {
    const bytes = batch.subarray(AT.attributes, end);
    if (crc32c(bytes) !== batch.readUInt32BE(AT.crc)) throw new Error('its checksum does not fit its bytes');
    const compression = batch.readInt16BE(AT.attributes) & COMPRESSION_MASK;
    if (compression > LAST_COMPRESSION) throw new Error(`its compression ${compression} is unknown`);
    // Room is made for as many as it claims; compaction leaves fewer, never more.
    const count = batch.readInt32BE(AT.count);
    if (count > batch.readInt32BE(AT.lastDelta) + 1) throw new Error('it claims more records than it has');
    if (count > MOST_RECORDS) throw new Error(`it has more than ${MOST_RECORDS} records`);
    return await decode(decoder);
  } catch (error) {
    decoder.offset = behind;
    const reason = error instanceof Error ? error.message : String(error);
    return { records: [standIn(batch, lastOffset(batch, end), reason)] };
  }
}

/** What is behind it says where it ends; its own word for that may be damaged. */
function lastOffset(batch: Buffer, end: number): bigint {
  const first = batch.readBigInt64BE(AT.offset);
  const next = end + 8 <= batch.length ? batch.readBigInt64BE(end) : 0n;
  return next > first ? next - 1n : first + BigInt(Math.max(0, batch.readInt32BE(AT.lastDelta)));
}

/** A message in the form that kafkajs gives its own. */
function standIn(batch: Buffer, last: bigint, reason: string): KafkaMessage {
  const first = batch.readBigInt64BE(AT.offset);
  const message = {
    key: null,
    value: null,
    attributes: 0,
    timestamp: String(batch.readBigInt64BE(AT.maxTimestamp)),
    offset: String(last),
    headers: {},
    isControlRecord: false,
    batchContext: { firstOffset: String(first), producerId: '-1', inTransaction: false },
  } as unknown as KafkaMessage;
  unreadable.set(message, { firstOffset: String(first), lastOffset: String(last), reason });
  return message;
}
