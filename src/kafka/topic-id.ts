/**
 * Which topic stands under a name. One that is deleted and made anew has another ID, which kafkajs
 * does not ask for: its requests are older. So this asks over a connection of its own.
 */
import { createRequire } from 'node:module';
import type { Kafka } from 'kafkajs';
import { type Cluster, connectCluster } from './cluster.js';

export interface TopicIds {
  /**
   * @returns in hex; null: the broker or this kafkajs can't tell
   * @throws an error of kafkajs when no broker answers
   */
  idOf(topic: string): Promise<string | null>;
  close(): Promise<void>;
}

const METADATA = 3;
/** The first version in which a topic's ID is told, and which knows topics by their names alone. */
const VERSION = 11;
const ID_BYTES = 16;
const NO_ID = '0'.repeat(2 * ID_BYTES);

export function topicIds(kafka: Kafka): TopicIds {
  let connected: Promise<Cluster | null> | undefined;

  const disconnect = async () => {
    const last = connected;
    connected = undefined;
    await last?.then((cluster) => cluster?.disconnect()).catch(() => {});
  };

  return {
    async idOf(topic) {
      connected ??= connectCluster(kafka);
      try {
        const cluster = await connected;
        if (cluster === null) return null;
        return await cluster.brokerPool.seedBroker.connectionPool.send({
          request: { apiKey: METADATA, apiVersion: VERSION, apiName: 'Metadata', encode: async () => question(topic) },
          response: { decode: async (answer: Buffer) => answer, parse: async (answer: Buffer) => idIn(answer) },
          logResponseError: false,
        });
      } catch (error) {
        await disconnect();
        throw error;
      }
    },
    close: disconnect,
  };
}

/** kafkajs appends it to its header, which in older versions ends before the tags. */
function question(topic: string): object {
  const name = Buffer.from(topic);
  const no = 0;
  const bytes = Buffer.concat([
    // No tags of the header; one topic, whose ID is not known.
    Buffer.from([0, 2]),
    Buffer.alloc(ID_BYTES),
    varint(name.length + 1),
    name,
    // No tags of it; nothing is created and nothing about permissions asked; no tags.
    Buffer.from([0, no, no, 0]),
  ]);
  const Encoder = createRequire(import.meta.url)('kafkajs/src/protocol/encoder');
  const encoder = new Encoder();
  encoder.writeBufferInternal(bytes);
  return encoder;
}

/** Every length is one more than it says. */
function idIn(answer: Buffer): string | null {
  let at = 1 + 4;
  const length = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = answer.readUInt8(at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value - 1;
    }
  };
  const skipText = () => {
    // Read first: `at` moves with it.
    const bytes = length();
    at += Math.max(0, bytes);
  };
  for (let brokers = length(); brokers > 0; brokers--) {
    at += 4;
    skipText();
    at += 4;
    skipText();
    at += 1;
  }
  skipText();
  at += 4;
  if (length() < 1 || answer.readInt16BE(at) !== 0) return null;
  at += 2;
  skipText();
  const id = answer.subarray(at, at + ID_BYTES).toString('hex');
  return id === NO_ID ? null : id;
}

function varint(value: number): Buffer {
  return value < 0x80 ? Buffer.from([value]) : Buffer.from([(value & 0x7f) | 0x80, value >>> 7]);
}
