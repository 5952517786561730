/** Source and target that are reached by TLS alone. */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { eventually } from '../support/eventually.js';
import { startNarrowLink } from '../support/narrow-link.js';
import { type Certificates, makeCertificates, startTlsRedis, type TlsRedisServer } from '../support/tls.js';
import { MemorySink, settled, unexpected } from './bed.js';
import { differing, expectEqualAfterRepair, repair } from './repair.js';

let certificates: Certificates;
let source: TlsRedisServer;
let target: TlsRedisServer;
let link: FaultProxy;
beforeAll(async () => {
  certificates = makeCertificates();
  [source, target] = await Promise.all([startTlsRedis(certificates), startTlsRedis(certificates)]);
  link = await startProxy({ target: { host: '127.0.0.1', port: target.tlsPort } });
});
afterAll(async () => {
  await link?.close();
  await Promise.all([source?.stop(), target?.stop()]);
  certificates?.remove();
});

const clients: Redis[] = [];
let sink: MemorySink;
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  link.restore();
  await Promise.all([source.client.flushall(), target.client.flushall()]);
});

/**
 * @param ca whom the target's client trusts
 * @param first what its first attempt to connect comes to
 * @param port where the target is
 */
async function createWriter({
  ca = certificates.ca,
  timeoutMs = 2000,
  first = 'ready',
  port = link.port,
} = {}): Promise<DualWriter> {
  sink = new MemorySink();
  const sourceClient = new Redis(`rediss://127.0.0.1:${source.tlsPort}`, { tls: { ca: certificates.ca } });
  const targetClient = new Redis(`rediss://127.0.0.1:${port}`, {
    ...mirrorOptions(timeoutMs),
    retryStrategy: () => 20,
    tls: { ca },
  });
  clients.push(sourceClient, targetClient);
  const writer = createDualWriter({
    link: 'east-to-west',
    origin: 'test',
    source: sourceClient,
    target: targetClient,
    records: sink,
    onError: () => {},
  });
  const event = (client: Redis, name: string) => new Promise<void>((resolve) => client.once(name, () => resolve()));
  await Promise.all([event(sourceClient, 'ready'), event(targetClient, first)]);
  return writer;
}

function failures(): unknown[] {
  return sink.records.map(({ key, outcome, error }) => [key, outcome, error?.code]);
}

it('are mirrored as any others', async () => {
  const writer = await createWriter();
  await Promise.all(Array.from({ length: 200 }, (_, index) => writer.append(`log${index % 10}`, `${index},`)));
  await writer.pipeline().incr('n').rpush('l', 'a', 'b').exec();
  await writer
    .multi()
    .hset('h', { f: 'x'.repeat(100_000) })
    .expire('h', 1000)
    .exec();
  await settled(writer);
  expect(unexpected(sink.records)).toEqual([]);
  expect(await source.client.dbsize()).toBe(13);
  expect(await differing({ source, target })).toEqual([]);
});

it('a write that is given up may land nevertheless, so its record says unknown: compared once more, the sides are equal', async () => {
  const writer = await createWriter({ timeoutMs: 150 });
  // On a busy machine a write may take longer than that.
  while (writer.stats().mirrored === 0) {
    await writer.set('k', 'old');
    await settled(writer);
  }
  sink.records.length = 0;
  link.swallow();
  await writer.set('k', 'late');
  await sink.have(1);
  expect(failures()).toEqual([['k', 'unknown', 'TIMEOUT']]);
  await writer.set('k', 'new');
  await sink.have(2);
  // Behind a write that was given up nothing goes to that connection any more.
  expect(failures().at(-1)).toEqual(['k', 'refused', 'NOT_CONNECTED']);
  await repair({ source, target }, sink.records);
  expect(await target.client.get('k')).toBe('new');
  // A FIN comes behind the bytes; an RST, which TLS can't send, would have discarded them.
  link.release();
  await eventually(async () => expect(await target.client.get('k')).toBe('late'));
  await expectEqualAfterRepair({ source, target }, sink.records);
});

it('a target whose certificate is not trusted costs records that say so, and nothing else', async () => {
  const stranger = makeCertificates();
  stranger.remove();
  const writer = await createWriter({ ca: stranger.ca, first: 'error' });
  expect(await writer.set('k', 'v')).toBe('OK');
  expect(await writer.incr('n')).toBe(1);
  await settled(writer);
  expect(failures()).toEqual([
    ['k', 'refused', 'NOT_CONNECTED'],
    ['n', 'refused', 'NOT_CONNECTED'],
  ]);
  expect(sink.records[0]?.error?.message).toMatch(
    /^there was no connection to the target \((SELF_SIGNED|UNABLE_TO_VERIFY)\w+\); nothing was sent$/,
  );
  await expectEqualAfterRepair({ source, target }, sink.records);
});

it('a connection that fails twice does not end the process', async () => {
  const writer = await createWriter();
  const [, { stream }] = clients as [Redis, Redis];
  // ioredis listens for the first error alone.
  for (const what of ['one', 'another']) stream.emit('error', new Error(what));
  await writer.set('k', 'v');
  await settled(writer);
  expect(await target.client.get('k')).toBe('v');
});

it('a value that takes longer than the timeout gets through a narrow link', async () => {
  const narrow = await startNarrowLink(target.tlsPort, 2_000_000);
  try {
    const writer = await createWriter({ timeoutMs: 300, port: narrow.port });
    // Longer than what the kernel holds gets in addition.
    await writer.set('large', Buffer.alloc(14_000_000, 'v'));
    await settled(writer);
    expect(sink.records.filter(({ error }) => error?.code !== 'CROSSED')).toEqual([]);
    expect(await target.client.strlen('large')).toBe(14_000_000);
  } finally {
    narrow.close();
  }
});
