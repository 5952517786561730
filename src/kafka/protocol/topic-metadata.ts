/**
 * What kafkajs does not ask of a topic, for its requests are older: its ID, and what this user may
 * do with it.
 */
import { createRequire } from 'node:module';
import type { Cluster } from './cluster.js';

interface TopicMetadata {
  /** The protocol's number of an error; 0: none. */
  readonly error: number;
  /** In hex; null: the broker can't tell. */
  readonly id: string | null;
  /** A bit for each operation that is allowed, at the place of the operation's number. */
  readonly allowed: number;
}

const METADATA = 3;
/** The first version in which a topic's ID is told, and which knows topics by their names alone. */
const VERSION = 11;
const ID_BYTES = 16;
const NO_ID = '0'.repeat(2 * ID_BYTES);

/**
 * @returns null: this broker says nothing of it
 * @throws an error of kafkajs when the broker does not answer
 */
export async function askTopic(cluster: Cluster, topic: string): Promise<TopicMetadata | null> {
  const { maxVersion = 0 } = cluster.brokerPool.versions?.[METADATA] ?? {};
  // A version that a broker does not know makes it close the connection.
  if (maxVersion < VERSION) return null;
  return cluster.brokerPool.seedBroker.connectionPool.send({
    request: { apiKey: METADATA, apiVersion: VERSION, apiName: 'Metadata', encode: async () => question(topic) },
    response: { decode: async (answer: Buffer) => answer, parse: async (answer: Buffer) => metadataIn(answer) },
    logResponseError: false,
  });
}

/** kafkajs appends it to its header, which in older versions ends before the tags. */
function question(topic: string): object {
  const name = Buffer.from(topic);
  const [no, yes] = [0, 1];
  const bytes = Buffer.concat([
    // No tags of the header; one topic, whose ID is not known.
    Buffer.from([0, 2]),
    Buffer.alloc(ID_BYTES),
    varint(name.length + 1),
    name,
    // No tags of it; nothing is created, and what is allowed is asked for; no tags.
    Buffer.from([0, no, yes, 0]),
  ]);
  const Encoder = createRequire(import.meta.url)('kafkajs/src/protocol/encoder');
  const encoder = new Encoder();
  encoder.writeBufferInternal(bytes);
  return encoder;
}

function metadataIn(answer: Buffer): TopicMetadata | null {
  let at = 1 + 4;
  /** Every length is one more than it says. */
  const length = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = answer.readUInt8(at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value - 1;
    }
  };
  const skip = (bytesEach: number) => {
    // Read first: `at` moves with it.
    const count = length();
    at += Math.max(0, count) * bytesEach;
  };
  for (let brokers = length(); brokers > 0; brokers--) {
    at += 4;
    skip(1);
    at += 4;
    skip(1);
    at += 1;
  }
  skip(1);
  at += 4;
  if (length() < 1) return null;
  const error = answer.readInt16BE(at);
  at += 2;
  skip(1);
  const id = answer.subarray(at, at + ID_BYTES).toString('hex');
  at += ID_BYTES + 1;
  for (let partitions = length(); partitions > 0; partitions--) {
    at += 2 + 4 + 4 + 4;
    // Its replicas: all, in sync, and away.
    for (let lists = 0; lists < 3; lists++) skip(4);
    at += 1;
  }
  return { error, id: id === NO_ID ? null : id, allowed: answer.readInt32BE(at) };
}

function varint(value: number): Buffer {
  return value < 0x80 ? Buffer.from([value]) : Buffer.from([(value & 0x7f) | 0x80, value >>> 7]);
}
