/** Workers that are killed while they publish dead letters. */
import type { KafkaMessage } from 'kafkajs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

/** An activity of a worker that is gone is tried again after 20 s. */
const TRIED_AGAIN_MS = 300_000;

it(
  'each escalation has one letter, also where a worker dies between publishing it and telling so',
  async () => {
    const { target, source, producer, topic, deadLetterTopic, kafka, prefix, client } = sandbox;
    sandbox.configure({ link: { retry: { maximumAttempts: 1 } } });
    await sandbox.start('bridge');
    const letters: KafkaMessage[] = [];
    const consumer = kafka.consumer({ groupId: `letters-${topic}` });
    await consumer.connect();
    await consumer.subscribe({ topic: deadLetterTopic, fromBeginning: true });
    await consumer.run({ eachMessage: async ({ message }) => void letters.push(message) });
    try {
      await target.client.replicaof('127.0.0.1', '1');
      const keys = Array.from({ length: 40 }, (_, n) => `k${n}`);
      for (const key of keys) await source.client.set(key, 'new');
      await producer.send({ topic, messages: keys.map((key) => recordOf(key)) });
      // Several times, each time as soon as one more letter is out.
      for (let kills = 1; kills <= 3; kills++) {
        const before = letters.length;
        const worker = await sandbox.start('worker');
        await until(() => letters.length > before);
        await worker.stop('SIGKILL');
      }
      await sandbox.start('worker');
      const isTold = async (key: string) => {
        const { events } = await client.workflow.getHandle(prefix + key).fetchHistory();
        return events!.some((event) => event.activityTaskCompletedEventAttributes);
      };
      await until(async () => (await Promise.all(keys.map(isTold))).every(Boolean));
      await until(() => letters.length >= keys.length);
      expect(letters.map(({ key }) => String(key)).toSorted()).toEqual(keys.toSorted());
      expect(new Set(letters.map(({ headers }) => String(headers!['dlq.letter.id']))).size).toBe(keys.length);
    } finally {
      await consumer.disconnect();
    }
  },
  TRIED_AGAIN_MS,
);
