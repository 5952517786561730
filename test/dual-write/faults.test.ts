import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';
import { PLANNERS } from '../../src/dual-write/target/planners/index.js';
import { startProxy } from '../../src/stack/proxy.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { type Bed, settled, startBed } from './bed.js';
import { expectMended } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(async () => {
  try {
    await expectMended(bed);
  } finally {
    await bed.reset();
  }
});
afterAll(() => bed.stop());

/** What a record says of the failure. */
function failure({ key, outcome, error }: FailedWrite): unknown[] {
  return [key, outcome, error?.code];
}

/** Makes the target refuse every write. */
async function makeReadOnly(): Promise<void> {
  await bed.target.client.replicaof('127.0.0.1', 1);
}

/** Writes until the target gets it: the link is up again. */
async function reconnected(writer: DualWriter): Promise<void> {
  const before = writer.stats().mirrored;
  while (writer.stats().mirrored === before) {
    await writer.set('probe', '1');
    await settled(writer);
  }
}

describe('a write that the target does not get', () => {
  it('is recorded as refused, with every field of the format, when the target is read-only', async () => {
    const writer = await bed.writer();
    await makeReadOnly();
    const before = Date.now();
    expect(await writer.sadd('user:42', 'a', 'b')).toBe(2);
    const [record] = await bed.sink.have(1);
    expect(record).toEqual({
      specVersion: 1,
      id: expect.stringMatching(/^[0-9A-HJKMNP-TV-Z]{26}$/),
      link: 'east-to-west',
      key: 'user:42',
      encoding: 'utf8',
      command: 'SADD',
      members: ['a', 'b'],
      outcome: 'refused',
      failedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      error: { code: 'READONLY', message: expect.stringContaining('read only replica') },
      origin: 'test',
    });
    expect(Date.parse(record!.failedAt)).toBeGreaterThanOrEqual(before);
    await settled(writer);
    expect(writer.stats()).toMatchObject({ mirrored: 0, recorded: 1, lost: 0, inFlight: 0 });
  });

  it('is recorded as refused when there is no connection, and mirroring goes on when there is one again', async () => {
    const writer = await bed.writer();
    bed.link.cut();
    // The first write may still meet the connection that is just breaking.
    while (bed.sink.records.at(-1)?.error?.code !== 'NOT_CONNECTED') {
      await writer.set('k', 'v');
      await settled(writer);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(failure(bed.sink.records.at(-1)!)).toEqual(['k', 'refused', 'NOT_CONNECTED']);
    bed.link.restore();
    await reconnected(writer);
    expect(await bed.target.client.get('probe')).toBe('1');
  });

  it('is recorded as unknown when the connection breaks under way', async () => {
    const writer = await bed.writer();
    bed.link.swallow();
    await writer.set('k', 'v');
    bed.link.cut();
    const records = await bed.sink.have(1);
    expect(records.map(failure)).toEqual([['k', 'unknown', 'CONNECTION_LOST']]);
  });

  it('is recorded as unknown after a timeout, with all that was sent behind it, and can not land later', async () => {
    const writer = await bed.writer({ timeoutMs: 150 });
    bed.link.swallow();
    await Promise.all([writer.set('late', 'v'), writer.set('behind', 'v')]);
    const records = await bed.sink.have(2);
    expect(records.map(failure)).toEqual([
      ['late', 'unknown', 'TIMEOUT'],
      ['behind', 'unknown', 'CONNECTION_LOST'],
    ]);
    bed.link.release();
    await reconnected(writer);
    expect(await bed.target.client.exists('late', 'behind')).toBe(0);
  });

  it('is recorded once for each of its keys', async () => {
    const writer = await bed.writer();
    await writer.mset('a', '1', 'b', '2');
    await writer.sadd('from', 'm');
    await settled(writer);
    await makeReadOnly();
    await writer.mset('a', '3', 'b', '4', 'a', '5');
    await settled(writer);
    await writer.rename('a', 'c');
    await settled(writer);
    await writer.smove('from', 'to', 'm');
    const records = await bed.sink.have(6);
    expect(records.map(({ command, key, members }) => [command, key, members])).toEqual([
      ['MSET', 'a', undefined],
      ['MSET', 'b', undefined],
      ['RENAME', 'a', undefined],
      ['RENAME', 'c', undefined],
      ['SMOVE', 'from', ['m']],
      ['SMOVE', 'to', ['m']],
    ]);
    expect(new Set(records.map(({ id }) => id)).size).toBe(6);
  });

  it('is recorded once for each key when it was a transaction', async () => {
    const writer = await bed.writer();
    await makeReadOnly();
    await writer.multi().set('a', '1').sadd('s', 'x').incr('a').get('a').exec();
    const records = await bed.sink.have(2);
    expect(records.map(({ key, command, members }) => [key, command, members])).toEqual([
      ['a', undefined, undefined],
      ['s', 'SADD', ['x']],
    ]);
  });

  it('is recorded in base64 when key or members are binary', async () => {
    const writer = await bed.writer();
    await makeReadOnly();
    const binary = Buffer.from([0xff, 0x00, 0x80]);
    await writer.set(binary, 'v');
    await writer.srem('plain', 'x');
    await settled(writer);
    await writer.sadd('plain', binary, 'text');
    const records = await bed.sink.have(3);
    expect(records.map(({ key, encoding, members }) => [key, encoding, members])).toEqual([
      [binary.toString('base64'), 'base64', undefined],
      ['plain', 'utf8', ['x']],
      [Buffer.from('plain').toString('base64'), 'base64', ['/wCA', Buffer.from('text').toString('base64')]],
    ]);
  });

  it('goes to the log in one call with all that failed at the same time', async () => {
    const writer = await bed.writer();
    bed.link.swallow();
    await writer.pipeline(Array.from({ length: 100 }, (_, index) => ['set', `k${index}`, 'v'])).exec();
    bed.link.cut();
    const records = await bed.sink.have(100);
    expect(records.map(({ key }) => key)).toEqual(Array.from({ length: 100 }, (_, index) => `k${index}`));
    expect(bed.sink.calls).toEqual([100]);
  });
});

describe('the caller', () => {
  it('never waits for the target', async () => {
    const writer = await bed.writer({ timeoutMs: 60_000 });
    bed.link.swallow();
    for (let turn = 0; turn < 200; turn++) expect(await writer.incr('n')).toBe(turn + 1);
    expect(writer.stats()).toMatchObject({ inFlight: 200, mirrored: 0 });
    bed.link.release();
    await settled(writer);
    expect(await bed.target.client.get('n')).toBe('200');
    expect(bed.sink.records).toEqual([]);
  });

  it('writes to a slow target at the pace of the source', async () => {
    const writer = await bed.writer({ timeoutMs: 60_000 });
    bed.link.slow(1_500);
    for (let turn = 0; turn < 100; turn++) await writer.set('k', turn);
    // At the pace of the target, the first ones would have been answered long ago.
    expect(writer.stats().inFlight).toBeGreaterThan(50);
    await settled(writer);
    expect(await bed.target.client.get('k')).toBe('99');
  });
});

describe('a write of whose answer the writer can make nothing', () => {
  it('is recorded without a word of the answer; those with and behind it are mirrored', async () => {
    const writer = await bed.writer();
    await writer.zadd('k', 1, 'secret');
    // Were it still on its way, it would rightly get a record of its own: it could land on top of
    // the repair.
    await settled(writer);
    const planners = new Map(PLANNERS);
    // As a server of another kind might answer.
    planners.set('ZPOPMIN', (accepted) => PLANNERS.get('ZPOPMAX')!({ ...accepted, reply: { secret: 1 } }));
    vi.spyOn(PLANNERS, 'get').mockImplementation((command) => planners.get(command));
    try {
      await writer.multi().set('before', '1').zpopmin('k').set('behind', '1').exec();
      await writer.set('last', '1');
      await settled(writer);
    } finally {
      vi.restoreAllMocks();
    }
    expect((await bed.sink.have(1)).map(failure)).toEqual([['k', 'unknown', 'NOT_MIRRORED']]);
    expect(bed.sink.records[0]?.error?.message).toMatch(/answer to ZPOPMIN/);
    expect(JSON.stringify(bed.sink.records[0]?.error)).not.toContain('secret');
    expect(await bed.target.client.exists('before', 'behind', 'last')).toBe(3);
  });
});

describe('a write of which the source gave no clear answer', () => {
  it('is recorded, because the source may have carried it out', async () => {
    const sourceLink = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
    try {
      const writer = await bed.writer({ source: { port: sourceLink.port, maxRetriesPerRequest: 0 } });
      // The first transaction waits until the source has said what commands it has.
      await writer.multi().ping().exec();
      sourceLink.swallow();
      const written = writer.set('k', 'v');
      const exec = writer.multi().incr('tx').exec();
      await new Promise((resolve) => setImmediate(resolve));
      sourceLink.cut();
      await expect(written).rejects.toThrow();
      await expect(exec).rejects.toThrow();
      const records = await bed.sink.have(2);
      expect(records.map(failure)).toEqual([
        ['k', 'unknown', 'SOURCE_UNKNOWN'],
        ['tx', 'unknown', 'SOURCE_UNKNOWN'],
      ]);
    } finally {
      await sourceLink.close();
    }
  });

  it('is recorded when the answer to EXEC was lost', async () => {
    const sourceLink = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
    try {
      const writer = await bed.writer({ source: { port: sourceLink.port, maxRetriesPerRequest: 0 } });
      await writer.multi({ pipeline: false });
      await writer.set('a', '1');
      await writer.get('a');
      sourceLink.swallow();
      const exec = writer.exec();
      await new Promise((resolve) => setImmediate(resolve));
      sourceLink.cut();
      await expect(exec).rejects.toThrow();
      expect((await bed.sink.have(1)).map(failure)).toEqual([['a', 'unknown', 'SOURCE_UNKNOWN']]);
    } finally {
      await sourceLink.close();
    }
  });

  it('is recorded instead of mirrored when ioredis sent it twice and twice is not the same as once', async () => {
    const sourceLink = await startProxy({ target: { host: '127.0.0.1', port: bed.source.port } });
    try {
      const writer = await bed.writer({ source: { port: sourceLink.port, retryStrategy: () => 20 } });
      sourceLink.swallow();
      const written = [writer.incr('n'), writer.set('k', 'v')];
      await new Promise((resolve) => setImmediate(resolve));
      sourceLink.cut();
      sourceLink.restore();
      expect(await Promise.all(written)).toEqual([1, 'OK']);
      await settled(writer);
      const records = await bed.sink.have(1);
      expect(records.map(failure)).toEqual([['n', 'unknown', 'NOT_MIRRORED']]);
      expect(await bed.target.client.get('k')).toBe('v');
    } finally {
      await sourceLink.close();
    }
  });

  it('is recorded when the caller gave it up, and mirrored when the answer comes after all', async () => {
    const writer = await bed.writer({ source: { commandTimeout: 100 } });
    bed.source.freeze();
    await expect(writer.set('k', 'v')).rejects.toThrow('Command timed out');
    const records = await bed.sink.have(1);
    expect(records.map(failure)).toEqual([['k', 'unknown', 'SOURCE_UNKNOWN']]);
    bed.source.thaw();
    await bed.source.client.ping();
    while ((await bed.target.client.get('k')) !== 'v') await new Promise((resolve) => setImmediate(resolve));
  });

  it('is recorded when a script failed half-way', async () => {
    const writer = await bed.writer();
    const script = "redis.call('SET', KEYS[1], 'half'); return redis.call('INCR', KEYS[1])";
    await expect(writer.eval(script, 1, 'k')).rejects.toThrow('not an integer');
    expect((await bed.sink.have(1)).map(failure)).toEqual([['k', 'unknown', 'SOURCE_UNKNOWN']]);
  });
});
