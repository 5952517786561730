import { Redis } from 'ioredis';
import { ulid } from 'ulid';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { decodeFailedWrite } from '../../src/events/failed-write-codec.js';
import { entryRecord } from '../../src/outbox/entry.js';
import {
  createOutbox,
  OutboxFullError,
  type OutboxOptions,
  OutboxUnavailableError,
} from '../../src/outbox/record-sink.js';
import { startProxy } from '../../src/stack/proxy.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';

const STREAM = 'keymend:outbox';

let source: RedisServer;
beforeEach(async () => {
  source = await startRedis();
});
afterEach(() => source.stop());

function outbox(options: Partial<OutboxOptions> = {}) {
  const created = createOutbox({ client: new Redis(source.url, { lazyConnect: true }), ...options });
  onTestFinished(() => created.close());
  return created;
}

function record(key: string, more: Partial<FailedWrite> = {}): FailedWrite {
  return { specVersion: 1, id: ulid(), link: 'l', key, failedAt: new Date().toISOString(), ...more };
}

function records(count: number): FailedWrite[] {
  return Array.from({ length: count }, (_, index) => record(`k${index}`, { id: `w${index}` }));
}

/** The records that the stream holds, oldest first, as a reader in any language gets them. */
async function stored(): Promise<{ key: Buffer; event: FailedWrite }[]> {
  const entries = await source.client.xrangeBuffer(STREAM, '-', '+');
  return entries.map(([id, fields]) => {
    const { key, value } = entryRecord(STREAM, { id: String(id), fields });
    const decoded = decodeFailedWrite(value);
    if (!decoded.ok) throw new Error(decoded.problem.message);
    return { key: key!, event: decoded.event };
  });
}

async function storedIds(): Promise<string[]> {
  return (await stored()).map(({ event }) => event.id);
}

describe('the outbox, when its key is no stream,', () => {
  it.each([
    ['a string', (redis: Redis) => redis.set(STREAM, 'v')],
    ['a set', (redis: Redis) => redis.sadd(STREAM, 'm')],
  ])('takes records all the same, and says in one line what it set aside: %s', async (_what, write) => {
    const warned: Error[] = [];
    const listen = (warning: Error) => void warned.push(warning);
    process.on('warning', listen);
    onTestFinished(() => void process.off('warning', listen));
    await write(source.client);
    const taking = outbox();
    await taking.publish(records(2));
    await taking.publish(records(1));
    expect(await storedIds()).toEqual(['w0', 'w1', 'w0']);
    await eventually(() => expect(warned).toHaveLength(1));
    const [, setAside] = /^keymend:outbox at .* was no stream, so it was set aside as (\S+);/.exec(warned[0]!.message)!;
    expect(await source.client.exists(setAside!)).toBe(1);
  });

  it('leaves a key that is an application’s alone, and says so', async () => {
    await source.client.set('orders', 'v');
    await expect(outbox({ key: 'orders', timeoutMs: 100 }).publish(records(1))).rejects.toThrow(/WRONGTYPE/);
    expect(await source.client.get('orders')).toBe('v');
  });
});

describe('the outbox', () => {
  it('has one entry for each record, in order, with the raw key and the value that Kafka would get', async () => {
    const key = Buffer.from([0xff, 0, 0x80]);
    const sent = [
      record('user:42', { command: 'SADD', members: ['a'] }),
      record(key.toString('base64'), { encoding: 'base64' }),
    ];
    await outbox().publish(sent);
    const found = await stored();
    expect(found.map((each) => each.key)).toEqual([Buffer.from('user:42'), key]);
    expect(found.map(({ event }) => event)).toEqual(sent);
    const [[, fields]] = (await source.client.xrange(STREAM, '-', '+', 'COUNT', 1)) as [[string, string[]]];
    expect(fields.filter((_, index) => index % 2 === 0)).toEqual(['key', 'value']);
  });

  it('takes more at once than one command may carry', async () => {
    await outbox().publish(records(1_250));
    expect(await storedIds()).toEqual(records(1_250).map(({ id }) => id));
    await outbox().publish(Array.from({ length: 40 }, () => record('k'.repeat(30_000))));
    expect(await source.client.xlen(STREAM)).toBe(1_290);
  });

  it('is where the bridge looks for it, whatever prefix the application has', async () => {
    await outbox({ client: new Redis(source.url, { keyPrefix: 'app:', lazyConnect: true }) }).publish(records(1));
    expect(await source.client.keys('*')).toEqual([STREAM]);
  });

  it('that is full refuses records with an error that says what to do, and keeps every one that it has', async () => {
    const bounded = outbox({ maxEntries: 10 });
    await bounded.publish(records(8));
    const error: unknown = await bounded.publish(records(3)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutboxFullError);
    expect(error).toMatchObject({ entries: 8, maxEntries: 10 });
    expect((error as Error).message).toMatch(
      /^the outbox keymend:outbox at 127\.0\.0\.1:\d+ is full: it has 8 of 10 entries; see that a bridge .* runs [^\n]+ raise maxEntries/,
    );
    expect(await storedIds()).toEqual(records(8).map(({ id }) => id));
    await bounded.publish(records(2));
    await expect(bounded.publish(records(1))).rejects.toThrow(OutboxFullError);
    expect(await source.client.xlen(STREAM)).toBe(10);

    // As a relay does.
    const [[oldest]] = (await source.client.xrange(STREAM, '-', '+', 'COUNT', 1)) as [[string, string[]]];
    await source.client.xdel(STREAM, oldest);
    await bounded.publish(records(1));
  });

  it('waits out a source that is away for a moment', async () => {
    const proxy = await startProxy({ target: { host: '127.0.0.1', port: source.port } });
    onTestFinished(() => proxy.close());
    const waiting = outbox({ client: new Redis(proxy.port, '127.0.0.1', { lazyConnect: true }) });
    await waiting.connect();
    proxy.cut();
    const published = waiting.publish(records(3));
    proxy.restore();
    await published;
    expect(await storedIds()).toEqual(['w0', 'w1', 'w2']);
  });

  it('says in one line, soon, that the source does not take records, and works again when it does', async () => {
    const proxy = await startProxy({ target: { host: '127.0.0.1', port: source.port } });
    onTestFinished(() => proxy.close());
    const impatient = outbox({ client: new Redis(proxy.port, '127.0.0.1', { lazyConnect: true }), timeoutMs: 100 });
    proxy.cut();
    const error: unknown = await impatient.publish(records(1)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutboxUnavailableError);
    expect((error as Error).message).toMatch(
      /^the outbox keymend:outbox at 127\.0\.0\.1:\d+ takes no records: the source [^\n]+$/,
    );
    proxy.restore();
    // It may lose its patience once more, while the record is on its way.
    await eventually(() => impatient.publish(records(1)));
    expect(new Set(await storedIds())).toEqual(new Set(['w0']));
  });

  it('takes none into another database than its own, where nobody looks for them', async () => {
    const client = new Redis(source.port, '127.0.0.1', { lazyConnect: true, db: 99 });
    const error: unknown = await outbox({ client, timeoutMs: 100 })
      .publish(records(1))
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutboxUnavailableError);
    expect(await source.client.dbsize()).toBe(0);
  });

  it('keeps a record whose acknowledgement was lost, at worst twice under the same id', async () => {
    const proxy = await startProxy({ target: { host: '127.0.0.1', port: source.port } });
    onTestFinished(() => proxy.close());
    const waiting = outbox({ client: new Redis(proxy.port, '127.0.0.1', { lazyConnect: true }) });
    await waiting.connect();
    proxy.slow(300);
    const published = waiting.publish(records(1));
    // The source has it; its answer is still on the way.
    while ((await source.client.xlen(STREAM)) === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    proxy.cut();
    proxy.restore();
    await published;
    expect(new Set(await storedIds())).toEqual(new Set(['w0']));
  });

  it('gives up a connection that swallows what it is sent', async () => {
    const proxy = await startProxy({ target: { host: '127.0.0.1', port: source.port } });
    onTestFinished(() => proxy.close());
    const waiting = outbox({ client: new Redis(proxy.port, '127.0.0.1', { lazyConnect: true }) });
    await waiting.connect();
    const connections = async () => {
      const info = await source.client.info('stats');
      return Number(/total_connections_received:(\d+)/.exec(info)![1]);
    };
    const before = await connections();
    proxy.swallow();
    const published = waiting.publish(records(1));
    await eventually(async () => expect(await connections()).toBeGreaterThan(before));
    proxy.restore();
    await published;
    expect(new Set(await storedIds())).toEqual(new Set(['w0']));
  });

  it('leaves a master that was demoted: behind the same name there may be another', async () => {
    const waiting = outbox();
    await waiting.publish(records(1));
    const connections = async () =>
      Number(/total_connections_received:(\d+)/.exec(await source.client.info('stats'))![1]);
    const before = await connections();
    await source.client.replicaof('127.0.0.1', 1);
    const published = waiting.publish(records(2));
    await eventually(async () => expect(await connections()).toBeGreaterThan(before));
    await source.client.replicaof('NO', 'ONE');
    await published;
    expect(await storedIds()).toEqual(['w0', 'w0', 'w1']);
  });

  it('shows no command in its errors: ioredis attaches the arguments', async () => {
    await source.client.set('orders', 'something else');
    const error = await outbox({ key: 'orders', timeoutMs: 100 })
      .publish([record('secret-key')])
      .catch((reason: Error) => reason);
    expect(error).toBeInstanceOf(OutboxUnavailableError);
    const everything =
      JSON.stringify([error, (error as Error).cause], Object.getOwnPropertyNames(error)) +
      String((error as Error).stack);
    expect(everything).not.toContain('secret-key');
    expect((error as Error).message).toContain('WRONGTYPE');
  });
});
