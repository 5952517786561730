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
