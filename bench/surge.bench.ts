/**
 * Surge: from Kafka to two Redis that are equal again, by batches in Temporal, against the consumer
 * that one would write by hand: decode, DUMP on both sides, compare, RESTORE, commit. Producing is
 * part of both times. Bridge and worker share the one thread that the other has for itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Kafka } from 'kafkajs';
import { test } from 'vitest';
import { BATCH_TYPE } from '../workflows/batch-messages.js';
import { type Contestant, report, speedRatio, versions } from './ratio.js';
import { produce, recordsOf, withRunning } from './running.js';

const KEYS = 30_000;
const TURNS = 5;
const CONSUMED_AT_ONCE = 4;

const keys = Array.from({ length: KEYS }, (_, index) => `user:${index}`);

/** What one would write: everything in pipelines of a batch. */
async function startByHand(kafka: Kafka, topic: string, source: Redis, target: Redis): Promise<() => Promise<void>> {
  const consumer = kafka.consumer({ groupId: `by-hand-${topic}`, maxWaitTimeInMs: 500 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    partitionsConsumedConcurrently: CONSUMED_AT_ONCE,
    eachBatch: async ({ batch }) => {
      const failed = new Set(batch.messages.map(({ value }) => JSON.parse(value!.toString()).key as string));
      const names = [...failed];
      const read = async (redis: Redis) => {
        const pipeline = redis.pipeline();
        for (const name of names) pipeline.dumpBuffer(name).pttl(name);
        return (await pipeline.exec())!.map(([, reply]) => reply);
      };
      const [ours, theirs] = await Promise.all([read(source), read(target)]);
      const repair = target.pipeline();
      for (const [index, name] of names.entries()) {
        const [value, ttl] = [ours[index * 2] as Buffer | null, ours[index * 2 + 1] as number];
        const other = theirs[index * 2] as Buffer | null;
        if (value === null) repair.del(name);
        else if (other === null || !value.equals(other)) repair.restore(name, Math.max(0, ttl), value, 'REPLACE');
      }
      await repair.exec();
    },
  });
  return () => consumer.disconnect();
}

test('surge', () =>
  withRunning({ topics: ['surge'], further: ['by-hand'], surgeFrom: 1_000 }, async (running) => {
    const { kafka, producer, source, target, client, batchesEnded } = running;
    console.log(`${await versions(source)}, Kafka 4.1.0, ${TURNS} turns of ${KEYS} keys each`);
    await source.mset(keys.flatMap((key) => [key, `value of ${key}, of a size that is not unusual for a small one`]));
    const stopByHand = await startByHand(kafka, 'by-hand', source, target);
    const healing = (topic: string): Contestant => {
      let records = recordsOf('surge', keys);
      return {
        async prepare() {
          await batchesEnded();
          await target.flushdb();
          records = recordsOf('surge', keys);
        },
        async run() {
          await produce(producer, topic, records);
          while ((await target.dbsize()) < KEYS) await sleep(10);
        },
      };
    };
    const ratio = await speedRatio(healing('surge'), healing('by-hand'), TURNS);
    report('surge, Kafka to converged, keys/s: by hand', ratio, 1);
    const { count } = await client.workflow.count(`WorkflowType = "${BATCH_TYPE}"`);
    console.log(`${count} batches for ${(TURNS + 1) * KEYS} keys`);
    await stopByHand();
  }));
