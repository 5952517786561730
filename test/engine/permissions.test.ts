/**
 * A user who may do no more than keymend needs, and what is said when one of these rights is
 * missing: which command, and on which keys.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { reconcileError } from '../../src/engine/errors.js';
import {
  type KeyRequest,
  type KeyResult,
  LinkMemory,
  reconcileKeys,
  reconcileLargeKey,
} from '../../src/engine/index.js';
import { connectRedis, type RedisFailure } from '../../src/redis/index.js';
import {
  CLUSTER,
  DATABASE,
  DISPENSABLE,
  FIELD_READS,
  FIELD_WRITES,
  NEEDS,
  READS,
  WRITES,
} from '../../src/redis/needed-commands.js';
import { provideRedis62, provideRedis74, provideRedis82, provideValkey9 } from '../../src/stack/programs/index.js';
import { startCluster } from '../support/cluster.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { DEFAULT_OPTIONS } from './link.js';

const LARGE = { elements: 20, bytes: 2_000 };
const SCENARIO_KEYS = 40;

/** With another word for each: what they are followed by is a command of its own. */
const WITH_SUBCOMMANDS = ['CLUSTER', 'CONFIG', 'MEMORY', 'OBJECT', 'SCRIPT', 'XGROUP', 'XINFO'];
/** Asked where it is allowed. */
const NOT_NEEDED = ['config|get'];

/** Every word in quotes that a server takes for a command, in the code that talks to servers. */
async function commandsInCode(): Promise<string[]> {
  const folder = fileURLToPath(new URL('../../src/redis/', import.meta.url));
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const parents = (await source.client.call('COMMAND', 'INFO', ...WITH_SUBCOMMANDS)) as unknown[][];
  const known = new Set((await source.client.call('COMMAND', 'LIST')) as string[]);
  for (const parent of parents) for (const [name] of parent[9] as string[][]) known.add(name!);
  const found = files
    .filter((name) => /\.(lua|ts)$/.test(name))
    .flatMap((name) => [
      ...readFileSync(join(folder, name), 'utf8').matchAll(/'([A-Z]{3,})(?:(?:', '| )([A-Z]{3,}))?\b/g),
    ]);
  const commands = found.map(([, command, second]) =>
    (WITH_SUBCOMMANDS.includes(command!) ? `${command}|${second}` : command!).toLowerCase(),
  );
  return [...new Set(commands)].filter((command) => known.has(command));
}

let source: RedisServer;
let target: RedisServer;

async function permit(server: RedisServer, commands: readonly string[], keys: readonly string[]): Promise<void> {
  const rules = ['reset', 'on', '>secret', ...keys, ...commands.map((command) => `+${command}`)];
  await server.client.call('ACL', 'SETUSER', 'keymend', ...rules);
}

/** Every way in which a key can differ. @returns what is asked of keymend */
async function diverge(): Promise<KeyRequest[]> {
  // At once: one by one they would take as long as all that is tried with them.
  const [a, b] = [source.client.pipeline(), target.client.pipeline()];
  a.flushall();
  b.flushall();
  const many = (make: (index: number) => string) => Array.from({ length: SCENARIO_KEYS }, (_, index) => make(index));
  const pairs = (make: (index: number) => readonly [string | number, string]) =>
    Array.from({ length: SCENARIO_KEYS }, (_, index) => make(index)).flat();
  a.set('string', '1');
  a.rpush('list', '1');
  a.hset('hash', 'f', '1', 'g', '1');
  b.hset('hash', 'f', '2', 'h', '1');
  a.hset('fields', 'f', '1', 'g', '1');
  b.hset('fields', 'f', '2', 'g', '1');
  // Older servers know no such expiry.
  a.call('HPEXPIRE', 'fields', 1_000_000, 'FIELDS', 1, 'f');
  a.sadd('set', '1');
  b.sadd('set', '2');
  a.zadd('zset', 1, 'm');
  b.zadd('zset', 2, 'm');
  a.xadd('stream', '1-1', 'f', 'v');
  b.xadd('stream', '1-1', 'f', 'w');
  for (const side of [a, b]) side.set('expires', '1');
  a.pexpire('expires', 100_000);
  for (const side of [a, b]) side.set('persists', '1');
  b.pexpire('persists', 100_000);
  b.set('gone', '1');
  a.set('large string', 'x'.repeat(5_000));
  b.set('large string', 'y'.repeat(5_000), 'PX', 100_000);
  a.rpush('large list', ...many((i) => `${i}`));
  b.rpush('large list', ...many((i) => `${i === 5 ? 'other' : i}`));
  a.pexpire('large list', 500_000);
  a.hset('large hash', ...pairs((i) => [`f${i}`, '1']));
  b.hset('large hash', ...pairs((i) => [`f${i + 2}`, '1']));
  a.sadd('large set', ...many((i) => `m${i}`));
  b.sadd('large set', ...many((i) => `m${i + 2}`));
  a.zadd('large zset', ...pairs((i) => [i, `m${i}`]));
  b.zadd('large zset', ...pairs((i) => [i, `m${i + 2}`]));
  for (let index = 1; index <= SCENARIO_KEYS; index++) {
    for (const side of [a, b]) side.xadd('large stream', `${index}-1`, 'f', 'v');
  }
  for (const [side, count] of [
    [a, 3],
    [b, 2],
  ] as const) {
    side.xgroup('CREATE', 'large stream', 'g', '0');
    side.xreadgroup('GROUP', 'g', 'c', 'COUNT', count, 'STREAMS', 'large stream', '>');
  }
  // Pending all the same: put in for that, and then trimmed away, or deleted.
  a.xdel('large stream', '1-1', '3-1');
  for (const replies of await Promise.all([a.exec(), b.exec()])) {
    const errors = replies!.flatMap(([error]) => (error === null ? [] : [error.message]));
    expect(errors.filter((message) => !message.includes('HPEXPIRE'))).toEqual([]);
  }
  const members = (...names: string[]) =>
    ({ kind: 'members', members: names.map((name) => Buffer.from(name)) }) as const;
  const keys = [...(await source.client.keys('*')), 'gone'].map((key): KeyRequest => ({ key: Buffer.from(key) }));
  return [
    { key: Buffer.from('hash'), scope: members('f', 'h') },
    { key: Buffer.from('fields'), scope: members('f') },
    ...keys,
  ];
}

/** @param byRecipe as for a target that can't read the source's dumps */
async function reconcileAll(requests: readonly KeyRequest[], { byRecipe = false } = {}): Promise<KeyResult[]> {
  const url = (server: RedisServer) => server.url.replace('//', '//keymend:secret@');
  const ports = {
    source: connectRedis({ url: url(source) }, { name: 'the source', largeValues: LARGE }),
    target: connectRedis(
      { url: url(target) },
      { name: 'the target', largeValues: LARGE, budget: { link: 'l', opsPerSecond: 1_000_000 } },
    ),
  };
  const sides = { ...ports, memory: new LinkMemory(ports) };
  try {
    if (byRecipe) {
      // It holds for these connections.
      await Promise.all([ports.source.health(), ports.target.health()]);
      sides.memory.payloadVersionRefused();
    }
    const results = await reconcileKeys(sides, requests, DEFAULT_OPTIONS);
    for (const [index, request] of requests.entries()) {
      if (results[index]!.outcome !== 'large') continue;
      results[index] = await reconcileLargeKey(sides, request, { ...DEFAULT_OPTIONS, onProgress() {} });
    }
    return results;
  } finally {
    await Promise.all([ports.source.close(), ports.target.close()]);
  }
}

const ALL_KEYS = ['~*'];
/** What takes the place of a value as a whole. */
const REPLACED = ['large string', 'large list', 'large stream'];

/** The values that are replaced as a whole, by key, with their expiries. */
async function replacedValues(): Promise<Map<string, unknown>> {
  const values = REPLACED.map(async (key) => {
    const [dump, expiry] = await Promise.all([target.client.dumpBuffer(key), target.client.pttl(key)]);
    return [key, { dump: dump?.toString('hex'), expires: expiry > 60_000, persists: expiry === -1 }] as const;
  });
  return new Map(await Promise.all(values));
}

/** Of values that were built and did not get to their place, those that would stay. */
async function leftBehind(): Promise<string[]> {
  const beside = await target.client.keys('keymend:re*');
  const expiries = await Promise.all(beside.map((key) => target.client.pttl(key)));
  return beside.filter((_, index) => expiries[index] === -1);
}

/** What is said of the failures, which must all be of that type. */
function refusals(results: readonly KeyResult[]): string[] {
  const errors = results.flatMap((result) => (result.outcome === 'failed' ? [result.error] : []));
  expect(errors.length).toBeGreaterThan(0);
  expect(new Set(errors.map(({ type }) => type))).toEqual(new Set(['NoPermission']));
  return [...new Set(errors.map(({ message }) => message))];
}

/** What a line of servers is asked, and what of that others are not. */
interface Line {
  readonly reads: readonly string[];
  readonly writes?: readonly string[];
  readonly needs?: readonly string[];
}

function permissionTests(
  start: () => Promise<RedisServer>,
  { reads, writes = WRITES, needs = [] }: Line = { reads: READS },
): void {
  const all = [...reads, ...writes];

  beforeAll(async () => {
    [source, target] = await Promise.all([start(), start()]);
  });
  afterAll(() => Promise.all([source?.stop(), target?.stop()]));

  async function permitAll(): Promise<void> {
    await permit(source, reads, ALL_KEYS);
    await permit(target, all, ALL_KEYS);
  }

  test('with no more rights than these every key is repaired', async () => {
    await permitAll();
    const requests = await diverge();
    const results = await reconcileAll(requests);
    expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    expect((await reconcileAll(requests)).map(({ outcome }) => outcome)).toEqual(requests.map(() => 'equal'));
  });

  /** Where a hash lies in one piece, which is too much for all these tests. */
  const notMet = ['hkeys'];
  const word = (command: string) => command.toUpperCase().replace('|', ' ');
  const missing = [
    ...reads.map((command) => ['source', command] as const),
    ...all.map((command) => ['target', command] as const),
  ].filter(([, command]) => !notMet.includes(command) && (!DISPENSABLE.includes(command) || needs.includes(command)));

  test.each(missing)('the %s’s user may not %s: that command is named, and the keys', async (side, command) => {
    await permitAll();
    const [server, commands] = side === 'source' ? [source, reads] : [target, all];
    await permit(
      server,
      commands.filter((each) => each !== command),
      ALL_KEYS,
    );
    const requests = await diverge();
    const before = await replacedValues();
    const results = await reconcileAll(requests);
    const after = await replacedValues();
    for (const key of REPLACED) {
      const [index] = [...requests.entries()].find(([, request]) => `${request.key}` === key)!;
      // Half of a write is worse than none.
      if (results[index]!.outcome === 'failed') expect(after.get(key)).toEqual(before.get(key));
    }
    expect(await leftBehind()).toEqual([]);
    for (const message of refusals(results)) {
      expect(message).toMatch(new RegExp(`^the ${side} .* does not let this user run ${word(command)}; grant \\+`));
      expect(message).toMatch(
        /on (~keymend:\*|the keys of the link \(~\*, or their patterns\)) in the ACL of that user$/,
      );
    }
  });

  test('a value that is built by commands leaves nothing behind where it may not be put in its place', async () => {
    await permitAll();
    for (const command of ['rename', 'exists', 'rpush']) {
      const rights = all.filter((each) => each !== command);
      await permit(target, rights, ALL_KEYS);
      await diverge();
      const results = await reconcileAll([{ key: Buffer.from('list') }], { byRecipe: true });
      expect(refusals(results)[0]).toContain(`does not let this user run ${word(command)};`);
      expect(await target.client.keys('keymend:rebuild:*')).toEqual([]);
      expect(await target.client.exists('list')).toBe(0);
    }
  });

  test('of members that were written before a command was refused it is told that they were', async () => {
    await permitAll();
    await permit(
      target,
      all.filter((command) => command !== 'hdel'),
      ALL_KEYS,
    );
    for (const { client } of [source, target]) await client.flushall();
    await source.client.hset('hash', 'f', 'new');
    await target.client.hset('hash', 'f', 'old', 'gone', 'v');
    const members = ['f', 'gone'].map((field) => Buffer.from(field));
    const results = await reconcileAll([{ key: Buffer.from('hash'), scope: { kind: 'members', members } }]);
    expect(refusals(results)[0]).toContain('does not let this user run HDEL;');
    expect(results).toMatchObject([{ outcome: 'failed', wrote: true }]);
    expect(await target.client.hgetall('hash')).toEqual({ f: 'new', gone: 'v' });
  });

  test('its own keys are not among those that the user may touch: their pattern is named', async () => {
    await permitAll();
    await permit(target, all, ['~[^k]*']);
    for (const message of refusals(await reconcileAll(await diverge()))) {
      expect(message).toMatch(
        /^the target .* does not let this user touch a key with GETRANGE; grant ~keymend:\* in the/,
      );
    }
  });

  test('the keys of the link are not: that is named', async () => {
    await permitAll();
    await permit(source, reads, ['~other:*']);
    for (const message of refusals(await reconcileAll(await diverge()))) {
      expect(message).toMatch(
        /^the source .* does not let this user touch a key with TYPE; grant the keys of the link/,
      );
    }
  });
}

describe('Redis 7', () => {
  permissionTests(() => startRedis());

  test('no command is sent, nor called by a script, that is not among those that are needed', async () => {
    const needed = [...NEEDS.source, ...NEEDS.target].flatMap(({ commands }) => commands);
    const granted = new Set([...needed, ...CLUSTER, ...DATABASE, ...NOT_NEEDED]);
    const commands = await commandsInCode();
    expect(commands.length).toBeGreaterThan(60);
    expect(commands.filter((command) => !granted.has(command))).toEqual([]);
  });
});

test('in a Cluster a user with no more rights may sweep, and is told which one is missing', async () => {
  const cluster = await startCluster(2);
  const [first] = cluster.seeds;
  const url = `redis://keymend:secret@${first!.host}:${first!.port}`;
  const needed = [...new Set(NEEDS.target.flatMap(({ isOfFields, commands }) => (isOfFields ? [] : commands)))];
  for (const node of cluster.nodes) await permit(node, [...needed, ...CLUSTER], ALL_KEYS);
  const port = connectRedis({ cluster: [url] }, { name: 'the cluster' });
  try {
    expect(await port.keyServers()).toMatchObject([{ moving: [] }, { moving: [] }]);
    expect(await port.answers((await port.shardsOf([Buffer.from('k')]))[0]!)).toBeNull();
    for (const { client } of cluster.nodes) await client.call('ACL', 'SETUSER', 'keymend', '-dump');
    await cluster.client.set('k', '1');
    const [state] = await port.inspect([Buffer.from('k')]);
    expect(reconcileError(state as RedisFailure, 'source', 'read', port.place)).toMatchObject({
      type: 'NoPermission',
      message: expect.stringMatching(/^the cluster .* does not let this user run DUMP; grant \+dump on/),
    });
  } finally {
    await port.close();
    await cluster.stop();
  }
});

await describeWith('Redis 6.2', provideRedis62, (binary) =>
  permissionTests(() => startRedis([], { binary }), {
    reads: READS.filter((command) => command !== 'pexpiretime'),
    needs: ['pttl'],
  }),
);

for (const [line, provide] of [
  ['Redis 7.4', provideRedis74],
  ['Redis 8.2', provideRedis82],
  ['Valkey 9', provideValkey9],
] as const) {
  await describeWith(line, provide, (binary) =>
    permissionTests(() => startRedis([], { binary }), {
      reads: [...READS, ...FIELD_READS],
      writes: [...WRITES, ...FIELD_WRITES],
    }),
  );
}
