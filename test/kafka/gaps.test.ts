/** A gap is told before anything behind it is committed, whatever happens meanwhile. */
import type { ConsumerConfig, ConsumerCrashEvent, Kafka } from 'kafkajs';
import { expect, test } from 'vitest';
import { type BridgeBed, bridgeBed, gate, until } from '../bridge/bridge-bed.js';
import { startIntake } from './intake-bed.js';

const nothing = async () => {};

/** An intake that holds one record; the three behind it are removed unread, and `left` stays. */
async function intakeBeforeAGap(bed: BridgeBed, left: readonly string[], keep = nothing, kafka?: Kafka) {
  const { topic } = bed.config.kafka;
  const slow = gate();
  const mayAccept = (id: string) => (id === 'slow' ? slow.opened : nothing());
  const intake = await startIntake(bed, { mayAccept, keep, ...(kafka && { kafka }) });
  await bed.produce({ id: 'slow' });
  await until(() => expect(intake.handled).toContain('slow'));
  // The other partition goes on: the batch is aside, and nothing behind it is fetched.
  await bed.produceTo(1, { id: 'beside' });
  await bed.untilCommitted(0, 1);
  for (const id of ['lost 1', 'lost 2', 'lost 3', ...left]) await bed.produce({ id });
  await bed.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] });
  return { ...intake, meet: slow.open, gap: { id: `${topic}[0] from 1 to 3`, cause: 'removed', records: 3 } };
}

test('a gap that is not kept when the bridge is stopped is told by the next one', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const first = await intakeBeforeAGap(bed, ['left'], () => gate().opened);
  first.meet();
  await until(() => expect(first.gaps).toMatchObject([first.gap]));
  await bed.produceTo(1, { id: 'beside too' });
  await bed.untilCommitted(1, 2);
  await first.stop();
  expect(first.handled).not.toContain('left');
  expect(await bed.committed()).toEqual([1, 2]);

  const next = await startIntake(bed);
  await bed.untilCommitted(5, 2);
  expect(next.gaps).toMatchObject([first.gap]);
  expect(next.handled).toEqual(['left']);
});

test('a gap that is not kept when the partitions are shared out anew holds them up until it is', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const kept = gate();
  const first = await intakeBeforeAGap(bed, ['left'], () => kept.opened);
  first.meet();
  await until(() => expect(first.gaps).toMatchObject([first.gap]));
  // It comes and goes, so that the partition is the first one's anew.
  const passing = bed.kafka.consumer({ groupId: bed.config.kafka.groupId });
  await passing.connect();
  await passing.subscribe({ topics: [bed.config.kafka.topic] });
  await passing.run({ eachBatch: nothing, eachBatchAutoResolve: false, autoCommit: false });
  const joins = (count: number) => bed.logs.filter(({ msg }) => msg.startsWith(`reads ${count} partition`)).length;
  await until(() => expect(joins(1)).toBe(1));
  await passing.disconnect();
  await until(() => expect(joins(2)).toBe(2));
  await bed.produceTo(1, { id: 'beside too' });
  await bed.untilCommitted(1, 2);
  expect(first.handled).not.toContain('left');

  kept.open();
  await bed.untilCommitted(5, 2);
  expect(first.gaps).toMatchObject([first.gap]);
});

test('a gap with nothing behind it is told once it is kept, and no further time', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const first = await intakeBeforeAGap(bed, [], () => gate().opened);
  first.meet();
  await until(() => expect(first.gaps).toMatchObject([first.gap]));
  await first.stop();
  const second = await startIntake(bed);
  expect(second.gaps).toMatchObject([first.gap]);
  await bed.untilCommitted(4, 1);
  await second.stop();
  const third = await startIntake(bed);
  expect(third.gaps).toEqual([]);
});

test('a gap that has grown since it was told is another one, for no sweep has seen what it has now', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const { topic } = bed.config.kafka;
  const first = await intakeBeforeAGap(bed, [], () => gate().opened);
  first.meet();
  await until(() => expect(first.gaps).toMatchObject([first.gap]));
  await first.stop();
  await bed.produce({ id: 'lost 4' });
  await bed.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '5' }] });
  const second = await startIntake(bed);
  expect(second.gaps).toMatchObject([{ id: `${topic}[0] from 1 to 4`, records: 4 }]);
});

test('once a topic is seen to be made anew, none of it is handled nor its offset set before that is kept as a gap', async () => {
  const bed = await bridgeBed();
  const { topic, groupId } = bed.config.kafka;
  const kept = gate();
  await bed.produce({ id: 'old' });
  const isAnew = ({ id }: { id: string }) => id.includes('is now');
  const intake = await startIntake(bed, { keep: (gap) => (isAnew(gap) ? kept.opened : nothing()) });
  await bed.untilCommitted(1);

  await bed.admin.deleteTopics({ topics: [topic] });
  await until(() => bed.admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: 1 }] }));
  await until(() => expect(intake.gaps.some(isAnew)).toBe(true));
  const ids = Array.from({ length: 5 }, (_, index) => `new ${index}`);
  for (const id of ids) await until(() => bed.produceTo(0, { id }));
  // Another group has time to read all of it.
  const other = { ...bed, config: { ...bed.config, kafka: { ...bed.config.kafka, groupId: `${groupId}-other` } } };
  const reader = await startIntake(other);
  await until(() => expect(reader.handled).toEqual(ids));
  expect(intake.handled).toEqual(['old']);
  // Kafka has forgotten the group with the topic, unless its shorter end was seen first.
  const [offsets] = await bed.admin.fetchOffsets({ groupId, topics: [topic] });
  expect(offsets!.partitions[0]!.offset).toBe(intake.gaps.length === 1 ? '-1' : '0');

  kept.open();
  await bed.untilCommitted(ids.length);
  // What waited for the gap comes again, behind the seek.
  expect([...new Set(intake.handled)]).toEqual(['old', ...ids]);
});

/** A Kafka that does not say what a topic holds, nor where a group is, while it is `away`. */
function forgetful({ kafka }: BridgeBed) {
  const state = { isAway: false, asked: 0 };
  const admin = () => {
    const real = kafka.admin();
    const unlessAway =
      <In, Out>(ask: (about: In) => Promise<Out>) =>
      async (about: In) => {
        if (!state.isAway) return ask(about);
        state.asked += 1;
        throw new Error('not now');
      };
    const fetchTopicOffsets = unlessAway(real.fetchTopicOffsets);
    return { ...real, fetchTopicOffsets, fetchOffsets: unlessAway(real.fetchOffsets) };
  };
  return { state, kafka: Object.create(kafka, { admin: { value: admin } }) as Kafka };
}

test('while Kafka does not say what is lost, nothing behind it is handled', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const { state, kafka } = forgetful(bed);
  const intake = await intakeBeforeAGap(bed, ['left'], nothing, kafka);
  state.isAway = true;
  intake.meet();
  await until(() => expect(bed.warnings().join()).toContain(`does not say what ${bed.config.kafka.topic} holds`));
  state.asked = 0;
  await until(() => expect(state.asked).toBeGreaterThan(2));
  expect(intake.handled).not.toContain('left');
  state.isAway = false;
  await bed.untilCommitted(5, 1);
  expect(intake.gaps).toMatchObject([intake.gap]);
});

test('nor where it has not said so since the start', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  const first = await intakeBeforeAGap(bed, ['left'], () => gate().opened);
  first.meet();
  await bed.untilCommitted(1, 1);
  await first.stop();
  const { state, kafka } = forgetful(bed);
  state.isAway = true;
  const next = await startIntake(bed, { kafka });
  await until(() => expect(bed.warnings().join()).toContain('does not say'));
  expect(next.handled).toEqual([]);
  state.isAway = false;
  await bed.untilCommitted(5, 1);
  expect(next.gaps).toMatchObject([first.gap]);
});

test('a consumer that ends for good says so at once, though a gap waits to be kept', async () => {
  const bed = await bridgeBed({ partitions: 2 });
  let crash: (event: ConsumerCrashEvent) => void = () => {};
  const consumer = (config: ConsumerConfig) => {
    const real = bed.kafka.consumer(config);
    const on = (name: string, listener: typeof crash) => {
      if (name === real.events.CRASH) crash = listener;
      return real.on(name as 'consumer.crash', listener);
    };
    return { ...real, on };
  };
  const kafka = Object.create(bed.kafka, { consumer: { value: consumer } }) as Kafka;
  const intake = await intakeBeforeAGap(bed, ['left'], () => gate().opened, kafka);
  intake.meet();
  await until(() => expect(intake.gaps).toMatchObject([intake.gap]));
  // The batch that waits is aside by then.
  await bed.produceTo(1, { id: 'beside too' });
  await bed.untilCommitted(1, 2);
  crash({ payload: { error: new Error('for good'), restart: false } } as ConsumerCrashEvent);
  await expect(intake.finished).rejects.toThrow('for good');
  expect(intake.handled).not.toContain('left');
});
