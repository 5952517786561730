import { Cluster } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { decodeFailedWrite } from '../../src/events/failed-write-codec.js';
import { clusterStreams } from '../../src/outbox/cluster-streams.js';
import { entryRecord } from '../../src/outbox/entry.js';
import {
  createOutbox,
  OutboxFullError,
  type OutboxOptions,
  OutboxUnavailableError,
} from '../../src/outbox/record-sink.js';
import { slotOf } from '../../src/redis/index.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import type { RedisServer } from '../support/redis.js';

const STREAMS = clusterStreams('keymend:outbox');
const SIXTEENTH = 1024;

let source: RedisCluster;
beforeEach(async () => {
  source = await startCluster();
});
afterEach(() => source.stop());

function outbox(options: Partial<OutboxOptions> = {}) {
  const client = new Cluster([...source.seeds], { lazyConnect: true, redisOptions: { protocol: 2 } });
  const created = createOutbox({ client, ...options });
  onTestFinished(() => created.close());
  return created;
}

function records(count: number, keys = count, from = 0): FailedWrite[] {
  return Array.from({ length: count }, (_, index) => ({
    specVersion: 1,
    id: `w${from + index}`,
    link: 'l',
    key: `k${index % keys}`,
    failedAt: new Date().toISOString(),
  }));
}

function slotOfKey(key: string): number {
  return slotOf(Buffer.from(key));
}

function masterOfKey(key: string): RedisServer {
  return source.masterOf(slotOfKey(key));
}

/** The stream that a key's records belong to. */
function streamOfKey(key: string): string {
  return STREAMS[Math.floor(slotOfKey(key) / SIXTEENTH)]!;
}

/** The records that a stream holds, oldest first. */
async function stored(stream: string, at = masterOfKey(stream)): Promise<FailedWrite[]> {
  return (await at.client.xrangeBuffer(stream, '-', '+')).map(([id, fields]) => {
    const decoded = decodeFailedWrite(entryRecord(stream, { id: String(id), fields }).value);
    if (!decoded.ok) throw new Error(decoded.problem.message);
    return decoded.event;
  });
}

/** All records that the living masters hold, by stream. */
async function everything(away?: RedisServer): Promise<Map<string, FailedWrite[]>> {
  const found = new Map<string, FailedWrite[]>();
  for (const stream of STREAMS) if (masterOfKey(stream) !== away) found.set(stream, await stored(stream));
  return found;
}

function idsOf(found: Map<string, FailedWrite[]>): string[] {
  return [...found.values()].flat().map(({ id }) => id);
}

/**
 * What a test needs in which the records of a key go to the stream that stands in for the right
 * one.
 */
function aside() {
  return {
    substituteOf: (key: string) => STREAMS[(STREAMS.indexOf(streamOfKey(key)) + 8) % 16]!,
    ofKey: (key: string, count: number, from = 0) => records(count, 1, from).map((record) => ({ ...record, key })),
    freezeMasterOf(key: string): RedisServer {
      const master = masterOfKey(streamOfKey(key));
      onTestFinished(() => master.thaw());
      master.freeze();
      return master;
    },
    async fill(stream: string, entries: number) {
      for (let count = 0; count < entries; count++) await source.client.xadd(stream, '*', 'value', '{}');
    },
  };
}

describe('the outbox on a Cluster', () => {
  it('has 16 streams, each on the master of the slots whose keys it takes, as the server counts slots', async () => {
    const slots = await Promise.all(STREAMS.map((stream) => source.client.cluster('KEYSLOT', stream)));
    expect(slots.map((slot) => Math.floor(Number(slot) / SIXTEENTH))).toEqual(STREAMS.map((_, index) => index));
    expect(STREAMS[0]).toMatch(/^keymend:outbox:\{[0-9a-z]+\}$/);
  });

  it('takes the records of all keys, those of one key in one stream and in their order, whatever the prefix', async () => {
    const client = new Cluster([...source.seeds], {
      lazyConnect: true,
      keyPrefix: 'app:',
      redisOptions: { protocol: 2, keyPrefix: 'app:' },
    });
    const sent = records(3_000, 300);
    const published = outbox({ client });
    // Also where calls overlap.
    await Promise.all([published.publish(sent.slice(0, 1_500)), published.publish(sent.slice(1_500))]);
    const found = await everything();
    for (const [stream, events] of found) {
      expect(events).toEqual(sent.filter(({ key }) => streamOfKey(key) === stream));
      expect(events.length).toBeGreaterThan(0);
    }
    expect(idsOf(found)).toHaveLength(3_000);
    const keys = await Promise.all(source.nodes.map((node) => node.client.keys('*')));
    expect(keys.flat().sort()).toEqual([...STREAMS]);
    // The boundaries of three masters cut two sixteenths; all others lie on one master as a whole.
    const apart = [...new Set(sent.map(({ key }) => key))].filter(
      (key) => masterOfKey(key) !== masterOfKey(streamOfKey(key)),
    );
    expect(new Set(apart.map(streamOfKey)).size).toBeLessThanOrEqual(2);
  });

  it('goes on without a master that was killed: another takes the records of its keys, and all are there once', async () => {
    const [, dead] = source.nodes;
    const away = outbox();
    await away.publish(records(100));
    await dead!.stop();
    const sent = records(1_000, 1_000, 100);
    await away.publish(sent);
    const found = await everything(dead);
    const ids = new Set(idsOf(found));
    expect(sent.filter(({ id }) => !ids.has(id))).toEqual([]);
    for (const [stream, events] of found) {
      const later = events.filter(({ id }) => Number(id.slice(1)) >= 100);
      const own = later.filter(({ key }) => streamOfKey(key) === stream);
      const others = later.filter(({ key }) => streamOfKey(key) !== stream);
      expect(own).toEqual(sent.filter(({ key }) => streamOfKey(key) === stream));
      expect(new Set(others.map(({ key }) => masterOfKey(streamOfKey(key))))).toEqual(
        new Set(others.length ? [dead] : []),
      );
    }
  });

  it('does not let the masters that answer wait for one that does not', async () => {
    const [living, ...frozen] = source.nodes;
    const waiting = outbox({ timeoutMs: 30_000 });
    await waiting.publish(records(100));
    const thaw = () => {
      for (const node of frozen) node.thaw();
    };
    onTestFinished(thaw);
    for (const node of frozen) node.freeze();
    let ended = false;
    const sent = records(1_000, 1_000, 100);
    const published = waiting.publish(sent).finally(() => {
      ended = true;
    });
    const streams = STREAMS.filter((stream) => masterOfKey(stream) === living);
    await eventually(async () => {
      const found = (await Promise.all(streams.map((stream) => stored(stream)))).flat();
      const ids = new Set(found.map(({ id }) => id));
      expect(sent.filter(({ id, key }) => streams.includes(streamOfKey(key)) && !ids.has(id))).toEqual([]);
    });
    expect(ended).toBe(false);
    thaw();
    await published;
    const ids = new Set(idsOf(await everything()));
    expect(sent.filter(({ id }) => !ids.has(id))).toEqual([]);
  });

  it('pays the wait for a silent master once, not for each part and each call', async () => {
    const { substituteOf, ofKey, freezeMasterOf } = aside();
    const [forgetful, remembering] = [outbox({ timeoutMs: 30_000 }), outbox({ timeoutMs: 5_500 })];
    await Promise.all([forgetful, remembering].map((each) => each.publish(ofKey('k0', 1))));
    freezeMasterOf('k0');
    const sent = ofKey('k0', 1_250, 1);
    // One silence of 2 s fits into the time, one for each of three parts does not.
    await remembering.publish(sent);
    expect(await stored(substituteOf('k0'))).toEqual(sent);
    const first = await Promise.race([
      forgetful.publish(ofKey('k0', 1, 2_000)).then(() => 'who has not met it yet'),
      remembering.publish(ofKey('k0', 1, 3_000)).then(() => 'who has met it'),
    ]);
    expect(first).toBe('who has met it');
  });

  it('waits for the right stream when the one in its place is full', async () => {
    const { substituteOf, ofKey, freezeMasterOf, fill } = aside();
    const bounded = outbox({ maxEntries: 320, timeoutMs: 30_000 });
    const impatient = outbox({ maxEntries: 320, timeoutMs: 6_000 });
    await Promise.all([bounded, impatient].map((each) => each.connect()));
    const frozen = freezeMasterOf('k0');
    await fill(substituteOf('k0'), 20);
    await expect(impatient.publish(ofKey('k0', 1))).rejects.toThrow(OutboxUnavailableError);
    const tried = async () => {
      const stats = await masterOfKey(substituteOf('k0')).client.info('commandstats');
      return Number(/cmdstat_eval:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    };
    const before = await tried();
    expect(before).toBeGreaterThan(0);
    const sent = ofKey('k0', 1, 1);
    const published = bounded.publish(sent);
    await Promise.race([published, eventually(async () => expect(await tried()).toBeGreaterThan(before))]);
    frozen.thaw();
    await published;
    expect((await stored(streamOfKey('k0'))).map(({ id }) => id)).toContain(sent[0]!.id);
    expect(await source.client.xlen(substituteOf('k0'))).toBe(20);
  });

  it('rejects in one line when no master answers, names no record, and works again when they do', async () => {
    const impatient = outbox({ timeoutMs: 500 });
    await impatient.publish(records(100));
    for (const node of source.nodes) node.freeze();
    onTestFinished(() => {
      for (const node of source.nodes) node.thaw();
    });
    const error: unknown = await impatient.publish(records(100, 100, 100)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutboxUnavailableError);
    expect((error as Error).message).toMatch(
      /^the outbox keymend:outbox at the Cluster takes no records: the source [^\n]+$/,
    );
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('specVersion');
    for (const node of source.nodes) node.thaw();
    await eventually(() => impatient.publish(records(100, 100, 200)));
    const ids = new Set(idsOf(await everything()));
    expect(records(100, 100, 200).filter(({ id }) => !ids.has(id))).toEqual([]);
  });

  it('follows a stream whose slot moves, with what it holds, and a slot that moves while it takes records', async () => {
    const following = outbox();
    await following.publish(records(400, 100));
    const stream = streamOfKey('k0');
    const from = masterOfKey(stream);
    const [to] = source.nodes.filter((node) => node !== from);
    await source.startMovingSlot(slotOfKey(stream), to!);
    await following.publish(records(400, 100, 400));
    await source.moveSlot(slotOfKey(stream), to!);
    await following.publish(records(400, 100, 800));
    const expected = records(1_200, 100).filter(({ key }) => streamOfKey(key) === stream);
    expect((await stored(stream, to)).map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    expect(idsOf(await everything())).toHaveLength(1_200);
  });

  it('is full stream by stream, each with its sixteenth, and says which', async () => {
    const bounded = outbox({ maxEntries: 320 });
    const [first] = records(1);
    const rest = records(200).filter(({ key }) => streamOfKey(key) !== streamOfKey(first!.key));
    await bounded.publish(Array.from({ length: 20 }, () => first!));
    const error: unknown = await bounded.publish([first!, ...rest]).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutboxFullError);
    expect(error).toMatchObject({ entries: 20, maxEntries: 20 });
    expect((error as Error).message).toContain(
      `the outbox ${streamOfKey(first!.key)} at the Cluster is full: it has 20 of 20`,
    );
    expect(idsOf(await everything())).toHaveLength(20 + rest.length);
  });

  it('refuses at once a key that would put all streams into one slot', () => {
    expect(() => outbox({ key: 'outbox{1}' })).toThrow(/^outbox\{1\} can't name streams in a Cluster/);
  });

  it('says at the start that no node can be reached', async () => {
    await Promise.all(source.nodes.map((node) => node.stop()));
    await expect(outbox().connect()).rejects.toThrow(
      /^the outbox \S+ at the Cluster takes no records: the source cannot be reached: /,
    );
  });
});
