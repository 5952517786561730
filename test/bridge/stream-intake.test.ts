import { once } from 'node:events';
import type { Redis } from 'ioredis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ConsumerGroup } from '../../src/outbox/consumer-group.js';
import { type Connection, connectKeyServers } from '../../src/redis/index.js';
import { gate, until } from './bridge-bed.js';
import { accepting, GROUP, STREAM, streamBed, text } from './stream-bed.js';

describe('the outbox as an intake', () => {
  test('hands out entries in their order, as they are, and forgets those that are accepted', async () => {
    const bed = await streamBed();
    const values = Array.from({ length: 1_200 }, (_, index) => `v${index}`);
    const ids = await bed.add(...values);
    const seen: string[] = [];
    const offsets: string[] = [];
    bed.start(async (batch) => {
      offsets.push(...batch.records.map(({ position }) => position.offset));
      await accepting(seen)(batch);
    });
    await until(async () => expect(await bed.left()).toMatchObject({ entries: 0 }));
    expect(await bed.left()).toEqual({ entries: 0, pending: 0 });
    expect(seen).toEqual(values);
    expect(offsets).toEqual(ids);
  });

  test('keeps the bytes of an entry and says where it stood', async () => {
    const bed = await streamBed();
    const key = Buffer.from([0, 0xff]);
    const value = Buffer.from([0xfe, 10]);
    const id = await bed.redis().xadd(STREAM, '*', 'key', key, 'value', value, 'a', '1', 'a', '2', 'b', key);
    const records: unknown[] = [];
    bed.start(async (batch) => {
      records.push(...batch.records);
      for (const record of batch.records) batch.accepted(record);
    });
    await until(() => expect(records).toHaveLength(1));
    expect(records[0]).toEqual({
      key,
      value,
      headers: { a: [Buffer.from('1'), Buffer.from('2')], b: [key] },
      position: { topic: STREAM, partition: 0, offset: id, timestamp: id!.split('-')[0] },
    });
  });

  test('says for how long the oldest entry at hand has waited', async () => {
    const bed = await streamBed();
    const minutesAgo = (minutes: number) => `${Date.now() - minutes * 60_000}-0`;
    for (const id of [minutesAgo(10), minutesAgo(2)]) await bed.redis().xadd(STREAM, id, 'key', 'k', 'value', 'v');
    const ages: number[] = [];
    bed.start(async ({ backlog, records, accepted }) => {
      if (records.length === 2) ages.push(backlog.ageMs / 60_000);
      for (const record of records) accepted(record);
    });
    await until(() => expect(ages).toEqual([expect.closeTo(10, 0)]));
  });

  test('leaves a server without an outbox as it is, and finds one that comes', async () => {
    const bed = await streamBed();
    const seen: string[] = [];
    bed.start(accepting(seen));
    const looked = async () => Number(/cmdstat_exists:calls=(\d+)/.exec(await bed.redis().info('commandstats'))?.[1]);
    await until(async () => expect(await looked()).toBeGreaterThan(1));
    expect(await bed.redis().dbsize()).toBe(0);
    await bed.add('first');
    await until(() => expect(seen).toEqual(['first']));
    // Now it waits inside of a read.
    await bed.add('second');
    await until(() => expect(seen).toEqual(['first', 'second']));
    expect(bed.warnings()).toEqual([]);
    expect(bed.gaps).toEqual([]);
  });

  test('says with each batch how many entries wait, those in hand included', async () => {
    const bed = await streamBed();
    await bed.add(...Array.from({ length: 1_200 }, (_, index) => `v${index}`));
    const backlogs: number[] = [];
    bed.start(async ({ records, backlog, accepted }) => {
      backlogs.push(backlog.records);
      for (const record of records) accepted(record);
    });
    await until(() => expect(backlogs).toEqual([1_200, 700, 200]));
  });

  test('an entry whose ID is no time in milliseconds says nothing of how old the backlog is', async () => {
    const bed = await streamBed();
    const hour = 3_600_000;
    for (const at of [Math.floor(Date.now() / 1_000), Date.now() - hour])
      await bed.redis().xadd(STREAM, `${at}-0`, 'key', 'k', 'value', 'v');
    const ages: number[] = [];
    bed.start(async ({ records, backlog, accepted }) => {
      ages.push(backlog.ageMs);
      for (const record of records) accepted(record);
    });
    await until(() => expect(ages).toHaveLength(1));
    expect(ages[0]).toBeGreaterThanOrEqual(hour);
    expect(ages[0]).toBeLessThan(2 * hour);
  });

  test('forgets what is accepted while the rest of its batch is still worked on', async () => {
    const bed = await streamBed();
    await bed.add('slow', 'quick');
    const { open, opened } = gate();
    bed.start(async ({ records, accepted }) => {
      accepted(records[1]!);
      await opened;
      accepted(records[0]!);
    });
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    open();
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
  });

  test('hands out what is behind a batch that waits for one record, and not without bound', async () => {
    const bed = await streamBed();
    // 500 a batch, of which one waits.
    await bed.add(...Array.from({ length: 500 * 11 }, (_, index) => (index % 500 === 0 ? 'slow' : 'quick')));
    const { open, opened } = gate();
    let [inHand, most, slow] = [0, 0, 0];
    bed.start(async ({ records, accepted }) => {
      inHand += 1;
      most = Math.max(most, inHand);
      for (const record of records) if (text(record) === 'quick') accepted(record);
      slow += 1;
      if (slow === 9) setTimeout(open, 1_000);
      await opened;
      for (const record of records) if (text(record) === 'slow') accepted(record);
      inHand -= 1;
    });
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    expect(slow).toBe(11);
    // One that gets on beside eight that do not.
    expect(most).toBe(9);
  });

  test('what is aside when it stops can be had by another at once', async () => {
    const bed = await streamBed();
    await bed.add('slow', ...Array.from({ length: 499 }, () => 'quick'), 'behind');
    const seen: string[] = [];
    const first = bed.start(async ({ records, accepted, signal }) => {
      seen.push(...records.map(text));
      for (const record of records) if (text(record) !== 'slow') accepted(record);
      if (text(records[0]!) === 'slow') await once(signal, 'abort');
    });
    await until(() => expect(seen).toContain('behind'));
    await first.stop();
    expect(await bed.left()).toEqual({ entries: 1, pending: 1 });
    const others: string[] = [];
    bed.start(accepting(others));
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    expect(others).toEqual(['slow']);
  });

  test('goes on after a flush and after a restart without data, and tells of each as a gap', async () => {
    const bed = await streamBed();
    const seen: string[] = [];
    const intake = bed.start(accepting(seen));
    await bed.add('before');
    await until(() => expect(seen).toEqual(['before']));
    await bed.redis().flushall();
    await bed.add('after the flush');
    await until(() => expect(seen).toEqual(['before', 'after the flush']));
    expect(bed.gaps).toEqual([
      {
        id: expect.stringMatching(/^keymend:outbox at source of link l \(127\.0\.0\.1:\d+\) deleted \w+$/),
        cause: 'recreated',
        records: null,
        message: expect.stringMatching(/^keymend:outbox at .* was deleted, .*is lost: compare both sides$/),
      },
    ]);
    expect(intake.isReading()).toBe(true);
    await bed.restart(async () => {
      await until(() => expect(bed.warnings()).toHaveLength(1));
      expect(intake.isReading()).toBe(false);
    });
    await bed.add('after the restart');
    await until(() => expect(seen).toEqual(['before', 'after the flush', 'after the restart']));
    expect(bed.gaps).toHaveLength(2);
    // Of what is lost later nobody has been told yet.
    expect(bed.gaps[1]!.id).not.toBe(bed.gaps[0]!.id);
    expect(intake.isReading()).toBe(true);
    expect(bed.warnings()).toEqual([
      expect.stringMatching(
        /^keymend:outbox at source of link l \(127\.0\.0\.1:\d+\) cannot be read: .*No record is lost/,
      ),
    ]);
  });

  test.each([
    ['for a moment', async () => {}],
    // It has said that it still works. By then it looks next for what others have left.
    [
      'for long',
      (redis: Redis) => until(async () => expect(await redis.info('commandstats')).toContain('cmdstat_xclaim')),
    ],
  ])('goes on when its stream was deleted while it worked %s, and tells of it as a gap', async (_long, worked) => {
    const bed = await streamBed();
    await bed.add('before');
    const seen: string[] = [];
    const { open, opened } = gate();
    let isWorking = false;
    bed.start(async (batch) => {
      isWorking = true;
      await opened;
      await accepting(seen)(batch);
    });
    await until(() => expect(isWorking).toBe(true));
    await worked(bed.redis());
    await bed.redis().del(STREAM);
    await bed.add('after');
    open();
    await until(() => expect(seen).toEqual(['before', 'after']));
    expect(bed.warnings()).toEqual([]);
    expect(bed.gaps).toMatchObject([{ cause: 'recreated' }]);
  });

  test('sets aside, with one line, what is no stream under a key of keymend', async () => {
    const bed = await streamBed();
    await bed.redis().hset('keymend:outbox', 'f', 'v');
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(bed.warnings()).toHaveLength(1));
    await bed.add('a');
    await until(() => expect(seen).toEqual(['a']));
    const [, setAside] = /set aside as (\S+);/.exec(bed.warnings().join())!;
    expect(await bed.redis().hgetall(setAside!)).toEqual({ f: 'v' });
    expect(bed.warnings()).toHaveLength(1);
  });

  test('that was overwritten is a gap, and what stands there is set aside', async () => {
    const bed = await streamBed();
    const seen: string[] = [];
    bed.start(accepting(seen));
    await bed.add('before');
    await until(() => expect(seen).toEqual(['before']));
    await bed.redis().set(STREAM, 'v');
    await until(() => expect(bed.warnings()).toEqual([expect.stringContaining('was set aside as')]));
    expect(bed.gaps).toMatchObject([{ cause: 'recreated' }]);
    await bed.add('after');
    await until(() => expect(seen).toEqual(['before', 'after']));
  });

  test('that was deleted is told of before it is read on', async () => {
    const bed = await streamBed();
    const { open, opened } = gate();
    const seen: string[] = [];
    bed.start(accepting(seen), () => opened);
    await bed.add('before');
    await until(() => expect(seen).toEqual(['before']));
    await bed.redis().del(STREAM);
    await until(() => expect(bed.gaps).toHaveLength(1));
    await bed.add('after');
    expect(seen).toEqual(['before']);
    open();
    await until(() => expect(seen).toEqual(['before', 'after']));
    expect(bed.gaps).toHaveLength(1);
  });

  test('begins with the oldest entry, also when it was added before any group was there', async () => {
    const bed = await streamBed();
    await bed.add('a', 'b');
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['a', 'b']));
  });

  test('says when the server may throw the outbox away', async () => {
    const bed = await streamBed();
    await bed.redis().config('SET', 'maxmemory', '100mb');
    await bed.redis().config('SET', 'maxmemory-policy', 'allkeys-lru');
    await bed.add('a');
    bed.start(accepting([]));
    await until(() => expect(bed.warnings()).toEqual([expect.stringContaining('may be evicted')]));
  });
});

describe('what a consumer did not finish', () => {
  test('is claimed by another when the consumer died, and the dead consumer is removed', async () => {
    const bed = await streamBed();
    const values = Array.from({ length: 700 }, (_, index) => `v${index}`);
    await bed.add(...values);
    await bed.readAsOneThatDies(600);
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    expect([...seen].sort()).toEqual([...values].sort());
    await until(async () => expect(await bed.consumers()).not.toContainEqual(expect.stringMatching(/^dead-/)));
    expect(await bed.consumers()).toHaveLength(1);
  });

  test('is handed out again when its handler failed, and does not hold up what came later', async () => {
    const bed = await streamBed();
    await bed.add('bad');
    const seen: string[] = [];
    let failures = 0;
    bed.start(async (batch) => {
      if (failures === 0 && batch.records.some((record) => text(record) === 'bad')) {
        failures++;
        throw new TypeError('a bug');
      }
      await accepting(seen)(batch);
    });
    await until(() => expect(failures).toBe(1));
    await bed.add('good');
    await until(() => expect(seen).toEqual(['good', 'bad']));
    expect(bed.warnings()).toEqual([expect.stringContaining('unexpected TypeError')]);
  });

  test('stays with it while it works, however long that takes', async () => {
    const bed = await streamBed();
    await bed.add('slow');
    const { open, opened } = gate();
    const slow: string[] = [];
    bed.start(async (batch) => {
      slow.push(...batch.records.map(text));
      await opened;
      for (const record of batch.records) batch.accepted(record);
    });
    await until(() => expect(slow).toEqual(['slow']));
    await bed.add('left behind');
    await bed.readAsOneThatDies(1);
    const other: string[] = [];
    bed.start(accepting(other));
    // Assigned later than the slow one, so whoever claims this would have claimed that.
    await until(() => expect(other).toEqual(['left behind']));
    open();
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    expect(slow).toEqual(['slow']);
  });

  test('is taken over at once when it stops in order', async () => {
    const bed = await streamBed();
    await bed.add('a');
    const stopping = bed.start(
      ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    );
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    await stopping.stop();
    const [[, , idle]] = (await bed.redis().xpending(STREAM, GROUP, '-', '+', 1)) as [[string, string, number]];
    expect(idle).toBeGreaterThan(10_000);
    const seen: string[] = [];
    const next = bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['a']));
    await next.stop();
    await expect(next.finished).resolves.toBeUndefined();
    // The one that had nothing left is gone from the group.
    expect(await bed.consumers()).toHaveLength(1);
  });

  test('that arrives when it stops already is not begun, and is taken over at once', async () => {
    const bed = await streamBed();
    await bed.add('a');
    const seen: string[] = [];
    const stopping = bed.start(accepting(seen));
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    await until(async () =>
      expect(await bed.redis().client('LIST')).toMatch(/cmd=xreadgroup .*flags=b|flags=b .*cmd=xreadgroup/),
    );
    const stopped = stopping.stop();
    await bed.add('late');
    await stopped;
    expect(seen).toEqual(['a']);
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['a', 'late']));
  });

  test('is shared among all that read, each entry by one of them', async () => {
    const bed = await streamBed();
    const [one, two]: [string[], string[]] = [[], []];
    const { open, opened } = gate();
    const waiting = async (seen: string[], batch: Parameters<ReturnType<typeof accepting>>[0]) => {
      seen.push(...batch.records.map(text));
      await opened;
      for (const record of batch.records) batch.accepted(record);
    };
    const values = Array.from({ length: 1_000 }, (_, index) => `v${index}`);
    await bed.add(...values);
    bed.start((batch) => waiting(one, batch));
    bed.start((batch) => waiting(two, batch));
    await until(() => expect(one.length + two.length).toBe(1_000));
    expect([one.length, two.length]).toEqual([500, 500]);
    open();
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    expect([...one, ...two].sort()).toEqual([...values].sort());
  });
});

test('a consumer that is handed an entry just as it leaves keeps it, for others to claim', async () => {
  const bed = await streamBed();
  await bed.add('v');
  const servers = connectKeyServers({ url: bed.server().url }, { name: 'source' });
  onTestFinished(() => servers.close());
  const connection = (await servers.serverOf(STREAM)) as Connection;
  // A read that was given up gets its answer once the consumer has seen that it has none.
  const late: Connection['send'] = async (commands, ...more) => {
    const replies = await connection.send(commands, ...more);
    if (commands[0]![0] === 'XPENDING') {
      await bed.redis().xreadgroup('GROUP', GROUP, 'leaver', 'COUNT', 1, 'STREAMS', STREAM, '>');
    }
    return replies;
  };
  const sending = new Proxy(connection, {
    get: (target, name) => (name === 'send' ? late : Reflect.get(target, name, target)),
  });
  const reading = new Proxy(servers, {
    get: (target, name) => (name === 'serverOf' ? async () => sending : Reflect.get(target, name, target)),
  });
  const group = new ConsumerGroup({ servers: reading, stream: STREAM, group: GROUP, consumer: 'leaver', warn() {} });
  await group.join();
  await group.leave();
  expect(await bed.left()).toEqual({ entries: 1, pending: 1 });
});
