import { expect, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import type { BatchHandler } from '../../src/events/intake.js';
import { clusterStreams } from '../../src/outbox/cluster-streams.js';
import { createLinkDeadLetters, createStreamDeadLetters } from '../../src/outbox/dead-letters.js';
import { slotOf } from '../../src/redis/index.js';
import type { FailedWrite } from '../../workflows/messages.js';
import type { RedisCluster } from '../support/cluster.js';
import { replicated } from '../support/replication.js';
import { until } from './bridge-bed.js';
import { clusterBed, idsByKey, STREAMS, writesOf } from './cluster-bed.js';

/** Accepts everything; remembers the failed writes and the streams that they came from. */
function accepting(seen: FailedWrite[], streams = new Set<string>()): BatchHandler {
  return async ({ records, accepted }) => {
    for (const record of records) {
      seen.push(JSON.parse(String(record.value)));
      streams.add(record.position.topic);
      accepted(record);
    }
  };
}

function ids(events: readonly FailedWrite[]): Set<string> {
  return new Set(events.map(({ id }) => id));
}

test('records of all masters are handed out once, those of each key in their order, and forgotten', async () => {
  const bed = await clusterBed();
  const sent = writesOf(300, 3_000);
  await bed.outbox.publish(sent.slice(0, 1_000));
  const seen: FailedWrite[] = [];
  const streams = new Set<string>();
  bed.start(accepting(seen, streams));
  await bed.outbox.publish(sent.slice(1_000));
  await until(async () => expect(await bed.waiting()).toBe(0));
  expect(seen).toHaveLength(3_000);
  expect(idsByKey(seen)).toEqual(idsByKey(sent));
  expect(streams).toEqual(new Set(STREAMS));
  expect(bed.warnings()).toEqual([]);
});

test('several share the streams, and what one that stops has not finished goes to the others', async () => {
  const bed = await clusterBed();
  const sent = writesOf(300, 600);
  await bed.outbox.publish(sent);
  const stopping = bed.start(
    ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  );
  await until(async () => {
    const pending = await Promise.all(STREAMS.map((stream) => bed.cluster.client.xpending(stream, 'keymend-bridge')));
    expect(pending.map(([count]) => Number(count)).reduce((sum, count) => sum + count)).toBe(600);
  });
  await stopping.stop();
  const seen: FailedWrite[] = [];
  bed.start(accepting(seen));
  await until(async () => expect(await bed.waiting()).toBe(0));
  expect(idsByKey(seen)).toEqual(idsByKey(sent));
});

test('a Cluster without an outbox stays without one', async () => {
  const bed = await clusterBed();
  bed.start(accepting([]));
  const looked = async () => {
    const stats = await Promise.all(bed.cluster.nodes.map(({ client }) => client.info('commandstats')));
    return Math.min(...stats.map((text) => Number(/cmdstat_exists:calls=(\d+)/.exec(text)?.[1] ?? 0)));
  };
  await until(async () => expect(await looked()).toBeGreaterThan(10));
  for (const { client } of bed.cluster.nodes) expect(await client.dbsize()).toBe(0);
  expect(bed.warnings()).toEqual([]);
});

test('a stream whose slot moves is followed, with what was in hand, without a word', async () => {
  const bed = await clusterBed();
  const stream = STREAMS[0]!;
  const [, to] = bed.cluster.nodes;
  const sent = writesOf(300, 900);
  await bed.outbox.publish(sent.slice(0, 300));
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  onTestFinished(() => open());
  const seen: FailedWrite[] = [];
  bed.start(async (batch) => {
    await opened;
    await accepting(seen)(batch);
  });
  await until(async () => expect((await bed.cluster.client.xpending(stream, 'keymend-bridge'))[0]).toBeGreaterThan(0));
  await bed.cluster.moveSlot(slotOf(Buffer.from(stream)), to!);
  await bed.outbox.publish(sent.slice(300, 600));
  open();
  await until(async () => expect(await bed.waiting()).toBe(0));
  // Now it waits inside of a read.
  await bed.cluster.moveSlot(slotOf(Buffer.from(STREAMS[15]!)), to!);
  await bed.outbox.publish(sent.slice(600));
  await until(async () => expect(await bed.waiting()).toBe(0));
  expect(idsByKey(seen)).toEqual(idsByKey(sent));
  expect(bed.warnings()).toEqual([]);
  expect(bed.gaps).toEqual([]);
});

test('while slots are on their way, streams are read wherever they are, without a word', async () => {
  const bed = await clusterBed();
  const seen: FailedWrite[] = [];
  const taken = (events: readonly FailedWrite[]) =>
    until(async () => {
      expect(events.filter(({ id }) => !ids(seen).has(id))).toEqual([]);
      expect(await bed.waiting()).toBe(0);
    });
  // One stream that is not there yet, and one that is read already.
  const [young, old] = [STREAMS[0]!, STREAMS[15]!];
  const slots = [young, old].map((stream) => slotOf(Buffer.from(stream)));
  const [, to] = bed.cluster.nodes;
  const sent = writesOf(300, 900);
  const isFor = (stream: string) => (event: FailedWrite) =>
    STREAMS[Math.floor(slotOf(Buffer.from(event.key)) / 1024)] === stream;
  await bed.outbox.publish(sent.filter(isFor(old)).slice(0, 5));
  for (const slot of slots) await bed.cluster.startMovingSlot(slot, to!);
  bed.start(accepting(seen));
  await taken(sent.filter(isFor(old)).slice(0, 5));
  await bed.outbox.publish(sent.slice(0, 300));
  await taken(sent.slice(0, 300));
  expect(await to!.client.call('CLUSTER', 'COUNTKEYSINSLOT', slots[0]!)).toBe(1);
  await bed.cluster.masterOf(slots[1]!).client.call('MIGRATE', '127.0.0.1', to!.port, old, 0, 5_000);
  await bed.outbox.publish(sent.slice(300, 600));
  await taken(sent.slice(300, 600));
  for (const slot of slots) await bed.cluster.moveSlot(slot, to!);
  await bed.outbox.publish(sent.slice(600));
  await taken(sent.slice(600));
  expect(idsByKey(seen.filter(({ id }) => Number(id.slice(1)) >= 300))).toEqual(idsByKey(sent.slice(300)));
  expect(bed.warnings()).toEqual([]);
  expect(bed.gaps).toEqual([]);
});

test('while one master does not answer, the streams of the others are read; the rest arrives when it does', async () => {
  const bed = await clusterBed();
  const seen: FailedWrite[] = [];
  bed.start(accepting(seen));
  await bed.outbox.publish(writesOf(300, 300));
  await until(() => expect(seen).toHaveLength(300));
  const [frozen] = bed.cluster.nodes;
  const sent = writesOf(300, 600, 300);
  await bed.outbox.publish(sent.slice(0, 300));
  frozen!.freeze();
  await bed.outbox.publish(sent.slice(300));
  const isLiving = ({ key }: FailedWrite) =>
    bed.masterOfStream(STREAMS[Math.floor(slotOf(Buffer.from(key)) / 1024)]!) !== frozen;
  const untilSeen = (writes: readonly FailedWrite[]) =>
    until(() => expect(writes.filter(({ id }) => !ids(seen).has(id))).toEqual([]));
  await untilSeen(sent.slice(300).filter(isLiving));
  await until(() => expect(bed.warnings()).not.toEqual([]));
  expect(bed.warnings().join('\n')).toMatch(
    /^keymend:outbox at source of link l \(Cluster at \S.*\) cannot be read: .*No record is lost[^\n]*$/,
  );
  const later = writesOf(300, 300, 900).filter(isLiving);
  await bed.outbox.publish(later);
  await untilSeen(later);
  const over = () => bed.logs.filter(({ msg }) => msg.startsWith('over'));
  expect(over()).toEqual([]);
  frozen!.thaw();
  await until(async () => expect(await bed.waiting()).toBe(0));
  await until(() => expect(over()).toHaveLength(1));
  await untilSeen(sent);
});

test.each<[how: string, failOver: (cluster: RedisCluster) => Promise<void>]>([
  ['in order', (cluster) => cluster.failOver(0)],
  ['because it was killed', (cluster) => cluster.killMaster(0)],
])('a replica that takes over from its master (%s) is followed with all that it has', async (_how, failOver) => {
  const bed = await clusterBed({ replicas: true });
  const seen: FailedWrite[] = [];
  bed.start(accepting(seen));
  const sent = writesOf(300, 900);
  await bed.outbox.publish(sent.slice(0, 300));
  await until(async () => expect(await bed.waiting()).toBe(0));
  await replicated(bed.cluster.masterOf(0));
  await failOver(bed.cluster);
  await bed.outbox.publish(sent.slice(300, 600));
  await until(async () => expect(await bed.waiting()).toBe(0));
  await bed.outbox.publish(sent.slice(600));
  await until(() => expect(sent.filter(({ id }) => !ids(seen).has(id))).toEqual([]));
  await until(async () => expect(await bed.waiting()).toBe(0));
  for (const line of bed.warnings()) expect(line).toMatch(/cannot be read.*No record is lost/);
  expect(bed.gaps).toEqual([]);
});

test('a master that was flushed has deleted its streams: that is one gap, and the outbox goes on', async () => {
  const bed = await clusterBed();
  const seen: FailedWrite[] = [];
  bed.start(accepting(seen));
  const sent = writesOf(300, 600);
  await bed.outbox.publish(sent.slice(0, 300));
  await until(async () => expect(await bed.waiting()).toBe(0));
  await bed.cluster.nodes[0]!.client.flushall();
  await until(() => expect(bed.gaps).toHaveLength(1));
  await bed.outbox.publish(sent.slice(300));
  await until(() => expect(idsByKey(seen)).toEqual(idsByKey(sent)));
  expect(bed.gaps).toMatchObject([
    { cause: 'recreated', message: expect.stringMatching(/^a part of keymend:outbox at .*was deleted/) },
  ]);
});

test('the bridge can tell at its start whether any node answers', async () => {
  const bed = await clusterBed();
  const intake = bed.start(accepting([]));
  await intake.check();
  for (const node of bed.cluster.nodes) await node.stop();
  await until(() =>
    expect(intake.check()).rejects.toThrow(/^source of link l \(Cluster at \S.*\) cannot be reached: /),
  );
});

test('a dead letter goes into the stream beside the one that its record was in, others where an outbox has their key', async () => {
  const bed = await clusterBed();
  const links = [{ name: 'l', source: bed.endpoint, target: { url: 'redis://127.0.0.1:1' } }];
  const config = parseConfig(
    JSON.stringify({ intake: 'redis-stream', stream: { maxEntries: 2 }, links }),
    'the test',
    {},
  );
  const letters = [
    createStreamDeadLetters({ endpoint: bed.endpoint, name: 'source of link l', links: ['l'] }, config.stream),
    createLinkDeadLetters(config),
  ];
  onTestFinished(async () => {
    for (const each of letters) await each.close();
  });
  const [own, ofLink] = letters;
  const value = Buffer.from([0xff]);
  await own!.publish({ key: null, value, headers: { 'dlq.original.topic': STREAMS[9]! } });
  await ofLink!.publish({
    key: Buffer.from('k'),
    value,
    headers: { 'dlq.link': 'l', 'dlq.original.topic': STREAMS[9]! },
  });
  await ofLink!.publish({
    key: Buffer.from('k'),
    value,
    headers: { 'dlq.link': 'l', 'dlq.original.topic': 'some.topic' },
  });
  const streams = clusterStreams('keymend:outbox:dlq');
  expect(streams[9]).toBe(STREAMS[9]!.replace('outbox:', 'outbox:dlq:'));
  expect(await bed.cluster.client.xlen(streams[9]!)).toBe(2);
  expect(await bed.cluster.client.xlen(streams[Math.floor(slotOf(Buffer.from('k')) / 1024)]!)).toBe(1);
  await expect(own!.publish({ key: null, value, headers: { 'dlq.original.topic': STREAMS[9]! } })).rejects.toThrow(
    `${streams[9]} at source of link l`,
  );
  // One with a name is there once.
  const named = { key: Buffer.from('named'), value, headers: { 'dlq.link': 'l', 'dlq.letter.id': 'run/1' } };
  const stream = streams[Math.floor(slotOf(named.key) / 1024)]!;
  for (let times = 0; times < 3; times++) await ofLink!.publish(named);
  expect(await bed.cluster.client.xlen(stream)).toBe(1);
});
