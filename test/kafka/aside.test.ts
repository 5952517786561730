import { Kafka, logLevel } from 'kafkajs';
import { expect, test } from 'vitest';
import { bridgeBed, gate, until } from '../bridge/bridge-bed.js';
import { startIntake } from './intake-bed.js';

test('a batch put aside that outlives its topic sets no offset in the one that was made anew', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const { topic, groupId } = bed.config.kafka;
  const old = gate();
  await bed.produce({ id: 'old 0' }, { id: 'old 1' }, { id: 'old 2' }, { id: 'old 3' });
  const intake = await startIntake(bed, { mayAccept: (id) => (id === 'old 0' ? old.opened : Promise.resolve()) });
  await until(() => expect(intake.handled).toContain('old 3'));
  // The other partition goes on: the batch is aside.
  await bed.produceTo(1, { id: 'beside' });
  await bed.untilCommitted(0, 1);

  await bed.admin.deleteTopics({ topics: [topic] });
  await until(() => bed.admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: 2 }] }));
  const ids = Array.from({ length: 10 }, (_, index) => `new ${index}`);
  for (const id of ids) await until(() => bed.produceTo(0, { id }));
  await until(() => expect(intake.gaps.map(({ id }) => id).join()).toContain('is now'));
  // Kafka has forgotten the group with the topic, and the seek leaves where it went to.
  await until(async () => {
    const [offsets] = await bed.admin.fetchOffsets({ groupId, topics: [topic] });
    expect(offsets!.partitions.find(({ partition }) => partition === 0)?.offset).toBe('0');
  });
  old.open();
  await until(() => expect(intake.handled).toContain('new 9'));
  expect(intake.handled.filter((id) => id.startsWith('new'))).toEqual(ids);
});

test('a batch put aside whose partition went to another bridge sets no offset there, and holds nothing up later', async () => {
  const bed = await bridgeBed();
  const slow = gate();
  const asked: string[] = [];
  await bed.produce({ id: 'slow' }, { id: 'behind' });
  const mayAccept = async (id: string) => {
    asked.push(id);
    if (id === 'slow') await slow.opened;
  };
  const first = await startIntake(bed, { mayAccept });
  await until(() => expect(first.handled).toEqual(['slow', 'behind']));

  // Partitions are shared out by the names of the members, and only once no batch is handled: it is
  // aside by then.
  const kafka = new Kafka({ brokers: [...bed.config.kafka.brokers], clientId: 'a', logLevel: logLevel.NOTHING });
  const second = await startIntake(bed, { kafka });
  await bed.produce({ id: 'later' });
  await bed.untilCommitted(3);
  expect(second.handled).toEqual(['slow', 'behind', 'later']);
  slow.open();
  await until(() => expect(asked).toContain('behind'));

  await second.stop();
  await bed.produce({ id: 'last' });
  await bed.untilCommitted(4);
  expect(first.handled).toEqual(['slow', 'behind', 'last']);
});
