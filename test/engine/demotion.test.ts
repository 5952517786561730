/**
 * A repair confirmed by a demoted source fails: what a replica says of a key may be older than what
 * was written, so it can't end a repair. Each way to write has a second look of its own. Nor may
 * what a replica says be written at all.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyRequest, LinkMemory, type LinkSides, reconcileLargeKey } from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import { startRelay } from '../support/relay.js';
import { DEFAULT_OPTIONS, intercept, once, reconcileOne, startLink, type TestLink } from './link.js';
import { reconcileAnySize } from './topology.js';
import { hookWatches } from './watched.js';

const LIMITS = { elements: 100, bytes: 20_000 };
const DEMOTED = { outcome: 'failed', error: { type: 'SourceNotMaster', stage: 'verify' } };
const HOUR_MS = 3_600_000;

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: LIMITS });
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());
afterEach(() => Promise.all([link.source, link.target].map(({ client }) => client.replicaof('NO', 'ONE'))));

/** It keeps its data and goes on to serve reads. */
const demote = once(() => link.source.client.replicaof('127.0.0.1', 1));

async function onBoth(command: string, ...args: (string | number)[]): Promise<void> {
  for (const { client } of [link.source, link.target]) await client.call(command, ...args);
}

describe('a source that is demoted between the repair and the second look', () => {
  async function repairDemoting(options: Parameters<typeof reconcileOne>[2] = {}, more: Partial<LinkSides> = {}) {
    const target = intercept(link.sides.target, { 'after repair': demote });
    return reconcileOne({ ...link.sides, target, ...more }, 'k', options);
  }

  test('does not confirm a value that was restored', async () => {
    await link.source.client.set('k', 'new');
    expect(await repairDemoting()).toMatchObject(DEMOTED);
    expect(await link.target.client.get('k')).toBe('new');
  });

  test('does not confirm a value that was built by commands', async () => {
    await link.source.client.rpush('k', 'new');
    const memory = new LinkMemory(link.sides);
    memory.payloadVersionRefused();
    expect(await repairDemoting({}, { memory })).toMatchObject(DEMOTED);
    expect(await link.target.client.lrange('k', 0, -1)).toEqual(['new']);
  });

  test('does not confirm a delete, although a person vouched for it', async () => {
    await link.target.client.set('k', 'old');
    expect(await repairDemoting({ allowDelete: true })).toMatchObject(DEMOTED);
  });

  test('does not confirm an expiry', async () => {
    await onBoth('SET', 'k', 'v');
    await link.source.client.pexpire('k', HOUR_MS);
    expect(await repairDemoting()).toMatchObject(DEMOTED);
  });

  test.each([
    ['members', [Buffer.from('a')]],
    ['the expiry alone', []],
  ])('does not confirm %s that a failed write named', async (_what, members) => {
    await onBoth('HSET', 'k', 'a', 'old');
    await link.source.client.hset('k', 'a', 'new');
    await link.source.client.pexpire('k', HOUR_MS);
    expect(await repairDemoting({ scope: { kind: 'members', members } })).toMatchObject(DEMOTED);
  });

  test('does not confirm members of a large value', async () => {
    const fields = Array.from({ length: 200 }, (_, index) => `f${index}`);
    await onBoth('HSET', 'k', ...fields.flatMap((field) => [field, 'v']));
    await link.source.client.hset('k', 'f7', 'new');
    const target = intercept(link.sides.target, { 'after repair': demote });
    expect(await reconcileLarge({ ...link.sides, target })).toMatchObject(DEMOTED);
  });

  test.each([
    ['string', () => link.source.client.set('k', 'x'.repeat(50_000))],
    ['list', () => link.source.client.rpush('k', ...numbers(500))],
    ['stream', () => Promise.all(numbers(300).map((id) => link.source.client.xadd('k', `${id}-1`, 'f', id)))],
  ])('does not confirm a large %s that took the place of the old value', async (type, fill) => {
    await fill();
    expect(await replaceDemoting()).toMatchObject(DEMOTED);
    expect(await link.target.client.type('k')).toBe(type);
  });

  test('does not confirm the expiry of a large value', async () => {
    await onBoth('RPUSH', 'k', ...numbers(500));
    await link.source.client.pexpire('k', HOUR_MS);
    expect(await replaceDemoting()).toMatchObject(DEMOTED);
  });

  test('does not confirm the delete of a large value', async () => {
    await link.target.client.rpush('k', ...numbers(500));
    expect(await replaceDemoting({ allowDelete: true })).toMatchObject(DEMOTED);
  });

  test('brings nothing in the place of a large value of another type that has made way', async () => {
    await link.source.client.sadd('k', ...numbers(500));
    await link.target.client.rpush('k', ...numbers(500));
    const result = await replaceDemoting();
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster' }, wrote: true });
  });
});

/** Until it has what its new master has, it is equal to what it was itself. */
describe('a target that was demoted', () => {
  test.each<[string, string[], Partial<KeyRequest>?]>([
    ['a key', ['SET', 'k', 'v']],
    ['a key that it lacks', ['DEL', 'k']],
    [
      'members that a failed write named',
      ['HSET', 'k', 'a', 'v'],
      { scope: { kind: 'members', members: [Buffer.from('a')] } },
    ],
    ['a large set', ['SADD', 'k', ...numbers(500)]],
    ['a large list', ['RPUSH', 'k', ...numbers(500)]],
  ])('is not believed to be equal: %s', async (_what, command, request = {}) => {
    await onBoth(...(command as [string, ...string[]]));
    const reconcile = async () => (await reconcileAnySize(link.sides, [{ key: Buffer.from('k'), ...request }]))[0];
    expect(await reconcile()).toEqual({ outcome: 'equal' });
    await link.target.client.replicaof('127.0.0.1', 1);
    expect(await reconcile()).toMatchObject({ outcome: 'failed', error: { type: 'TargetReadOnly', stage: 'read' } });
  });
});

describe('a source that is demoted before it is read', () => {
  test.each([
    ['as dumped', false],
    ['by commands', true],
  ])('brings nothing to the target: %s', async (_form, byCommands) => {
    await link.source.client.rpush('k', 'stale');
    await link.target.client.rpush('k', 'newer');
    const memory = new LinkMemory(link.sides);
    if (byCommands) memory.payloadVersionRefused();
    const source = intercept(link.sides.source, { 'before read': demote });
    const result = await reconcileOne({ ...link.sides, source, memory }, 'k');
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster', stage: 'read' } });
    expect(await link.target.client.lrange('k', 0, -1)).toEqual(['newer']);
  });

  test('brings nothing, even when the question was already on its way: its role is asked behind that', async () => {
    const relay = await startRelay(link.source.port);
    const source = connectRedis({ url: `redis://127.0.0.1:${relay.port}` }, { name: 'source' });
    try {
      // Connected, and the server knows the script.
      expect(await reconcileOne({ ...link.sides, source }, 'k')).toEqual({ outcome: 'equal' });
      await link.source.client.set('k', 'stale');
      await link.target.client.set('k', 'newer');
      relay.holdFrom('EVALSHA');
      const result = reconcileOne({ ...link.sides, source }, 'k');
      await relay.held();
      await link.source.client.replicaof('127.0.0.1', 1);
      relay.deliver();
      expect(await result).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster', stage: 'read' } });
      expect(await link.target.client.get('k')).toBe('newer');
    } finally {
      await source.close();
      relay.close();
    }
  });
});

test('a source that is demoted while a large value is compared does not confirm that it is equal', async () => {
  await onBoth('RPUSH', 'k', ...numbers(500));
  const { port: source } = hookWatches(link.sides.source, { 'before unchanged': demote });
  expect(await reconcileLarge({ ...link.sides, source })).toMatchObject({
    outcome: 'failed',
    error: { type: 'SourceNotMaster', stage: 'compare' },
  });
});

test('a source that is demoted while a large value is built does not bring it to the target', async () => {
  await link.source.client.rpush('k', ...numbers(500));
  await link.target.client.set('k', 'newer');
  const { port: source } = hookWatches(link.sides.source, { 'before unchanged': demote });
  expect(await reconcileLarge({ ...link.sides, source })).toMatchObject({ error: { type: 'SourceNotMaster' } });
  expect(await link.target.client.get('k')).toBe('newer');
});

function reconcileLarge(sides: LinkSides, request: { allowDelete?: boolean } = {}) {
  return reconcileLargeKey(sides, { key: Buffer.from('k'), ...request }, { ...DEFAULT_OPTIONS, onProgress: () => {} });
}

function replaceDemoting(request: { allowDelete?: boolean } = {}) {
  const { port: target } = hookWatches(link.sides.target, { 'after write': demote });
  return reconcileLarge({ ...link.sides, target }, request);
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${index + 1}`);
}
