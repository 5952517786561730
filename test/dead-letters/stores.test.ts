/** What every store of dead letters promises, and what is special about a topic. */
import { ulid } from 'ulid';
import { describe, expect, it, onTestFinished } from 'vitest';
import { nameOf } from '../../src/dead-letters/letter.js';
import { eventually } from '../support/eventually.js';
import { createTopics } from '../support/topics.js';
import { all, BEDS, keysOf, letter, topicBed } from './bed.js';

const KEYS = Array.from({ length: 40 }, (_, index) => `key:${index}`);
const NOTE = { 'dlq.redrive.id': 'keymend/redrive/1' };

describe.each(Object.entries(BEDS))('a store of letters: %s', (_name, bed) => {
  it('reads each open letter once, whole, and between two positions only what is there', async () => {
    const { writing, open } = await bed();
    const store = await open();
    expect(await all(store)).toEqual([]);
    for (const key of KEYS) await writing.publish(letter(key, { 'dlq.redrive.count': '2' }));
    const ends = await store.ends();
    const letters = await all(store);
    expect(keysOf(letters)).toEqual([...KEYS].sort());
    expect(new Set(letters.map(({ place }) => nameOf(place))).size).toBe(KEYS.length);
    expect(letters[0]).toMatchObject({
      reason: 'attempts-exhausted',
      errorType: 'TargetReadOnly',
      redriven: 2,
      prefix: 'key:',
    });

    for (const key of ['late:1', 'late:2']) await writing.publish(letter(key));
    expect(keysOf(await all(store, { ends }))).toEqual([...KEYS].sort());
    expect(keysOf(await all(store, { passed: ends }))).toEqual(['late:1', 'late:2']);
    expect(await all(store, { passed: await store.ends() })).toEqual([]);
  });

  it('knows since when a letter is there, also one of a write that failed long ago', async () => {
    const { writing, open } = await bed();
    const before = Date.now();
    const old = { 'dlq.failed.last_at': '2020-11-20T23:00:00.000Z' };
    await writing.publish({ ...letter('key:1', old), timestamp: '1600000000000' });
    const [written] = await all(await open());
    expect(written!.at).toBeGreaterThanOrEqual(before - 1);
    expect(written!.at).toBeLessThanOrEqual(Date.now() + 1);
  });

  it('closes a letter once, whoever asks how often and at the same time', async () => {
    const { writing, open } = await bed();
    const [one, other] = [await open(), await open()];
    for (const key of KEYS) await writing.publish(letter(key));
    const letters = await all(one);
    expect(await all(other)).toHaveLength(KEYS.length);
    const closings = letters.map(({ place: { part, offset }, record }, index) => ({
      part,
      offsets: [offset],
      putBack: index % 2 === 0 ? null : letter(String(record.key), { 'dlq.redrive.count': '1' }),
      note: NOTE,
    }));
    await Promise.all([one.close(closings), other.close(closings)]);
    await one.close(closings);
    const again = keysOf(letters.filter((_, index) => index % 2 === 1));
    for (const store of [one, other, await open()]) {
      const left = await all(store);
      expect(keysOf(left)).toEqual(again);
      expect(new Set(left.map(({ redriven }) => redriven))).toEqual(new Set([1]));
    }
  });
});

it('of many letters of a key in a stream, some dealt with by somebody else, one is put back', async () => {
  const { writing, open } = await BEDS.stream!();
  const store = await open();
  for (let index = 0; index < 520; index++) await writing.publish(letter('key'));
  const letters = await all(store);
  const { part } = letters[0]!.place;
  const offsets = letters.map(({ place }) => place.offset);
  await store.close([{ part, offsets: offsets.slice(450), putBack: null, note: NOTE }]);
  const putBack = letter('key', { 'dlq.redrive.count': '1' });
  for (let twice = 0; twice < 2; twice++) await store.close([{ part, offsets, putBack, note: NOTE }]);
  expect((await all(store)).map(({ redriven }) => redriven)).toEqual([1]);
});

describe('a topic of letters', () => {
  it('takes no word of what comes behind it: it was meant for a topic that had its name before', async () => {
    const { topic, kafka, writing, open } = await topicBed(1);
    const producer = kafka.producer();
    await producer.connect();
    onTestFinished(() => producer.disconnect());
    const resolving = { key: 'r', value: '{}', headers: { 'dlq.resolves': '1-2', 'dlq.resolution': 'healed' } };
    await producer.send({ topic, messages: [resolving] });
    for (const key of ['key:1', 'key:2', 'key:3']) await writing.publish(letter(key));
    expect(keysOf(await all(await open()))).toEqual(['key:1', 'key:2', 'key:3']);
  });
  it('that keeps the times of its records knows what its letters tell', async () => {
    const { writing, open } = await topicBed(1);
    const old = { 'dlq.failed.last_at': '2020-11-20T23:00:00.000Z' };
    await writing.publish({ ...letter('key:1', old), timestamp: '1600000000000' });
    await writing.publish({ ...letter('key:2', old), timestamp: '1700000000000' });
    const letters = await all(await open());
    expect(letters.map(({ at }) => at)).toEqual([Date.parse('2020-11-20T23:00:00.000Z'), 1_700_000_000_000]);
  });

  it('is read to its end whatever transactions it holds, without those that did not come about', async () => {
    const { topic, kafka, writing, open } = await topicBed(1);
    const producer = kafka.producer({ transactionalId: ulid(), maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    onTestFinished(() => producer.disconnect());
    const send = async (key: string, end: 'commit' | 'abort') => {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: [{ ...letter(key), headers: { 'dlq.reason': 'cancelled' } }] });
      await transaction[end]();
    };
    await send('aborted:1', 'abort');
    await writing.publish(letter('plain:1'));
    await send('committed:1', 'commit');
    await send('aborted:2', 'abort');
    const store = await open();
    expect(keysOf(await all(store))).toEqual(['committed:1', 'plain:1']);

    // One that is under way holds back what is behind it, and nobody who reads.
    const open2 = await producer.transaction();
    await open2.send({ topic, messages: [letter('under way')] });
    await writing.publish(letter('plain:2'));
    expect(keysOf(await all(store))).toEqual(['committed:1', 'plain:1']);
    await open2.commit();
    // It is on record then; the partitions are told of it a moment later.
    const whole = ['committed:1', 'plain:1', 'plain:2', 'under way'];
    await eventually(async () => expect(keysOf(await all(store))).toEqual(whole));
  });

  it('is read from what retention has left, and by nobody who leaves a group behind', async () => {
    const { topic, admin, writing, open } = await topicBed(1);
    const before = (await admin.listGroups()).groups.map(({ groupId }) => groupId);
    for (const key of KEYS) await writing.publish(letter(key));
    const [early, late] = [await open(), await open()];
    await all(early);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '30' }] });
    for (const store of [early, late]) expect(await all(store)).toHaveLength(10);
    // Others of this Kafka come and go meanwhile.
    const after = (await admin.listGroups()).groups.map(({ groupId }) => groupId);
    for (const groupId of after.filter((id) => !before.includes(id))) {
      const [ofTopic] = await admin.fetchOffsets({ groupId, topics: [topic] });
      expect(ofTopic!.partitions.filter(({ offset }) => offset !== '-1')).toEqual([]);
    }
  });

  it('is read page by page, however small a page is', async () => {
    const { writing, open } = await topicBed(2);
    for (const key of KEYS) await writing.publish({ ...letter(key), value: Buffer.alloc(20_000) });
    expect(keysOf(await all(await open(), { about: 1 }))).toEqual([...KEYS].sort());
  });

  it('made anew under its name is read anew', async () => {
    const { topic, admin, writing, open } = await topicBed(1);
    const store = await open();
    for (const key of KEYS) await writing.publish(letter(key));
    const letters = await all(store);
    await store.close([{ part: '0', offsets: letters.map(({ place }) => place.offset), putBack: null, note: NOTE }]);
    expect(await all(store)).toEqual([]);
    await admin.deleteTopics({ topics: [topic] });
    await expect.poll(() => admin.listTopics()).not.toContain(topic);
    await createTopics(admin, { topic, numPartitions: 1 });
    // As many as there were before, where the old ones are resolved.
    for (const key of KEYS) await eventually(() => writing.publish(letter(key)));
    expect(new Set(keysOf(await all(store)))).toEqual(new Set(KEYS));
  });
});
