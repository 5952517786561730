/**
 * What the table of commands says, held against the servers' own metadata and against what the
 * commands do.
 */
import { createHash } from 'node:crypto';
import { exists, getKeyIndexes, hasFlag, list } from '@ioredis/commands';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isIdempotent, isWrite, knownCommand, membersOf, touches, writtenKeys } from '../../src/commands/command.js';
import { TABLE } from '../../src/commands/table.js';
import { provideRedis82, provideValkey9 } from '../../src/stack/programs/index.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { FIXTURE, SAMPLES, type Sample, SCRIPT, WITHOUT_KEYS } from './command-samples.js';

let server: RedisServer;
let other: RedisServer;
let redis: Redis;
/**
 * Upper case: every command of the server that is flagged as a write, subcommands by their
 * container.
 */
let serverWrites: ReadonlySet<string>;
let serverKnows: ReadonlySet<string>;

function serveBy(binary: string): void {
  beforeAll(async () => {
    [server, other] = await Promise.all([startRedis([], { binary }), startRedis([], { binary })]);
    redis = server.client;
    const commands = (await redis.call('COMMAND')) as CommandInfo[];
    serverKnows = new Set(commands.map(([name]) => name.toUpperCase()));
    serverWrites = new Set(
      commands
        .filter((command) => [command, ...(command[9] ?? [])].some(([, , flags]) => flags.includes('write')))
        .map(([name]) => name.toUpperCase()),
    );
  });
  afterAll(() => Promise.all([server?.stop(), other?.stop()]));
}

/** As COMMAND answers: name, arity, flags, …, subcommands. */
type CommandInfo = [name: string, arity: number, flags: string[], ...more: unknown[]] & { 9?: CommandInfo[] };

const nameOf = ({ line }: Sample) => line.split(' ')[0]!;
const texts = (bytes: Buffer[] | undefined) => bytes?.map(String);

async function argumentsOf({ line }: Sample): Promise<(string | Buffer)[]> {
  const dump = line.includes('$DUMP') ? await redis.dumpBuffer('s') : Buffer.alloc(0);
  const replaced: Record<string, string | Buffer> = {
    $DUMP: dump,
    $PORT: String(other.port),
    $SHA: createHash('sha1').update(SCRIPT).digest('hex'),
  };
  return line
    .split(' ')
    .slice(1)
    .map((argument) => replaced[argument] ?? argument);
}

describe('the table', () => {
  test('has a row for every write that has an example, and for no other command', () => {
    expect([...TABLE.keys()].toSorted()).toEqual([...new Set([...SAMPLES.map(nameOf), ...WITHOUT_KEYS])].toSorted());
    expect([...TABLE.keys()].filter((name) => knownCommand(name) === undefined)).toEqual([]);
  });

  test('agrees with the metadata on commands whose only key is known without a look at their arguments', () => {
    const only = [...TABLE].filter(([, row]) => row.keys === 'only');
    expect(only.filter(([, row]) => row.writes !== undefined)).toEqual([]);
    for (const [name] of only) {
      if (!exists(name.toLowerCase())) continue;
      for (let count = 1; count <= 6; count++) {
        const args = Array.from({ length: count }, (_, index) => `${index + 1}`);
        expect(getKeyIndexes(name.toLowerCase(), args), name).toEqual([0]);
      }
    }
  });

  test.each(SAMPLES.map((sample) => [sample.line, sample] as const))('%s', (line, sample) => {
    const [command = '', ...args] = line.split(' ');
    expect(isWrite(command)).toBe(true);
    expect(isWrite(command, args)).toBe(true);
    expect(texts(writtenKeys(command, args))).toEqual(sample.keys);
    expect(touches(command)).toBe(sample.part);
    expect(texts(membersOf(command, args))).toEqual(sample.members);
    expect(isIdempotent(command)).toBe(sample.idempotent);
    const bytes = args.map((argument) => Buffer.from(argument));
    expect(texts(writtenKeys(command.toLowerCase(), bytes))).toEqual(sample.keys);
    expect(texts(membersOf(command.toLowerCase(), bytes))).toEqual(sample.members);
  });

  test('names no keys where none can be known', () => {
    for (const command of [...WITHOUT_KEYS, 'JSON.SET', 'NOSUCHCOMMAND']) {
      expect(isWrite(command)).toBe(true);
      expect(writtenKeys(command, ['a', 'b'])).toEqual([]);
      expect(touches(command)).toBe('whole');
      expect(isIdempotent(command)).toBe(false);
    }
    expect(writtenKeys('EVAL', [SCRIPT, '0', 'v'])).toEqual([]);
  });

  test.each([
    ...[
      'GET k',
      'HGETALL k',
      'XRANGE k - +',
      'SCAN 0',
      'PING',
      'SORT_RO k',
      'BITFIELD_RO k',
      'EVAL_RO s 1 k',
      'TTL k',
      'DUMP k',
    ],
    ...['SORT k BY STORE GET #', 'SORT k LIMIT 0 5', 'GEORADIUS k 1 2 3 m ASC', 'GEORADIUSBYMEMBER k STORE 3 m'],
    ...[
      'BITFIELD k GET u8 0',
      'GETEX k',
      'HGETEX k FIELDS 1 f',
      'XGROUP HELP',
      'HIMPORT PREPARE set f',
      'WATCH k',
      'MULTI',
    ],
  ])('%s writes nothing', (line) => {
    const [command = '', ...args] = line.split(' ');
    expect(isWrite(command, args)).toBe(false);
    expect(writtenKeys(command, args)).toEqual([]);
  });

  test('keeps the bytes of keys and members', () => {
    const key = Buffer.from([0xff, 0x00]);
    const member = Buffer.from([0xfe, 0x0a]);
    expect(writtenKeys('SMOVE', [key, key, member])).toEqual([key]);
    expect(membersOf('SMOVE', [key, key, member])).toEqual([member]);
    expect(writtenKeys('SORT', [key, Buffer.from('store'), member])).toEqual([member]);
    const args = ['host', '1', '', '0', '9', 'KEYS', key, member].map((argument) => Buffer.from(argument as Buffer));
    expect(writtenKeys('MIGRATE', args)).toEqual([key, member]);
  });
});

const SERVERS = {
  'the stack’s server': async () => 'redis-server',
  'Redis 8.2': provideRedis82,
  'Valkey 9': provideValkey9,
};

for (const [title, provide] of Object.entries(SERVERS)) {
  await describeWith(`on ${title}`, provide, (binary) => {
    serveBy(binary);
    test('has an example of every write command that the server or the metadata knows', () => {
      const sampled = new Set([...SAMPLES.map(nameOf), ...WITHOUT_KEYS]);
      const flagged = list.filter((name) => hasFlag(name, 'write')).map((name) => name.toUpperCase());
      // Libraries of functions are no keys.
      const missing = [...serverWrites, ...flagged].filter((name) => name !== 'FUNCTION' && !sampled.has(name));
      expect(missing).toEqual([]);
      expect(serverWrites.size).toBeGreaterThan(90);
    });

    const known = () => SAMPLES.filter((sample) => serverKnows.has(nameOf(sample)));

    async function lay(): Promise<void> {
      await Promise.all([redis.flushall(), other.client.flushall(), redis.call('FUNCTION', 'FLUSH')]);
      for (const line of FIXTURE) {
        const [command = '', ...args] = line.split(' ');
        await redis.call(command, ...args);
      }
      if (serverKnows.has('VADD')) await redis.call('VADD', 'vec', 'VALUES', 1, 1, 'e');
      for (const key of await redis.keys('*')) await redis.pexpireat(key, 3_900_000_000_000);
      if (serverKnows.has('HPEXPIREAT')) await redis.call('HPEXPIREAT', 'h', 3_900_000_000_000, 'FIELDS', 1, 't');
      await redis.script('LOAD', SCRIPT);
      const body = "redis.register_function('fun', function(k, a) return redis.call('SET', k[1], a[1]) end)";
      await redis.call('FUNCTION', 'LOAD', `#!lua name=lib\n${body}`);
    }

    async function run(sample: Sample, args: (string | Buffer)[]): Promise<void> {
      await redis.call(nameOf(sample), ...args);
    }

    test('its metadata names the same keys as written', async () => {
      await lay();
      for (const sample of known()) {
        const args = await argumentsOf(sample);
        const named = (await redis.call('COMMAND', 'GETKEYSANDFLAGS', nameOf(sample), ...args)) as [string, string[]][];
        const written = named.filter(([, flags]) => flags.some((flag) => ['RW', 'OW', 'RM'].includes(flag)));
        // XREADGROUP writes what it delivers into the stream's group, which the server counts as no
        // write of the key.
        if (nameOf(sample) === 'XREADGROUP') continue;
        // It names a key behind each of two STOREs; Redis writes the last, as the next test shows.
        if (sample.line.includes('STORE set STOREDIST new')) continue;
        expect(new Set(written.map(([key]) => key)), sample.line).toEqual(new Set(sample.keys));
      }
    });

    test('each command changes what the table says and nothing else', async () => {
      for (const sample of known()) {
        await lay();
        const args = await argumentsOf(sample);
        const before = await snapshot(redis);
        await run(sample, args);
        const after = await snapshot(redis);

        const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
          (key) => JSON.stringify(before.get(key)) !== JSON.stringify(after.get(key)),
        );
        expect(changed.length, `${sample.line}: changes something`).toBeGreaterThan(0);
        expect(sample.keys, `${sample.line}: keys`).toEqual(expect.arrayContaining(changed));
        for (const key of changed) {
          const [was, is] = [before.get(key), after.get(key)];
          // A key that came or went did so as a whole; that members and expiry allow.
          if (sample.part === 'whole' || !was || !is) continue;
          const rest = (state: State) =>
            sample.part === 'expiry'
              ? state.content
              : [state.expiry, Object.entries(state.members).filter(([name]) => !sample.members!.includes(name))];
          expect(rest(is), `${sample.line}: the rest of ${key}`).toEqual(rest(was));
        }
      }
    });

    test('what is idempotent leaves the same state the second time', async () => {
      for (const sample of known().filter(({ idempotent }) => idempotent)) {
        await lay();
        const args = await argumentsOf(sample);
        await run(sample, args);
        const once = await snapshot(redis);
        await run(sample, args).catch(() => {});
        expect(await snapshot(redis), sample.line).toEqual(once);
      }
    });
  });
}

interface State {
  readonly expiry: number;
  /** All of it, as the server serialises it. */
  readonly content: string;
  /** Of a hash, set or sorted set: each member with its part of the value. */
  readonly members: Readonly<Record<string, string>>;
}

async function snapshot(redis: Redis): Promise<Map<string, State>> {
  const states = new Map<string, State>();
  for (const key of (await redis.keys('*')).sort()) {
    const [expiry, content, type] = await Promise.all([redis.pexpiretime(key), redis.dumpBuffer(key), redis.type(key)]);
    const members = await membersIn(redis, key, type);
    // A set is serialised in an order that may change by itself.
    states.set(key, {
      expiry,
      members,
      content: type === 'set' ? `${Object.keys(members).sort()}` : content!.toString('hex'),
    });
  }
  return states;
}

async function membersIn(redis: Redis, key: string, type: string): Promise<Record<string, string>> {
  if (type === 'hash') {
    const fields = Object.entries(await redis.hgetall(key));
    const names = fields.map(([name]) => name);
    const expiries = await redis.call('HPEXPIRETIME', key, 'FIELDS', names.length, ...names).catch(() => []);
    return Object.fromEntries(
      fields.map(([name, value], index) => [name, `${value} ${(expiries as number[])[index] ?? ''}`]),
    );
  }
  if (type === 'set') return Object.fromEntries((await redis.smembers(key)).sort().map((member) => [member, '']));
  if (type !== 'zset') return {};
  const flat = (await redis.call('ZRANGE', key, '0', '-1', 'WITHSCORES')) as string[];
  return Object.fromEntries(flat.flatMap((member, index) => (index % 2 === 0 ? [[member, flat[index + 1]!]] : [])));
}

test('a count of keys that no command can have costs no list of that length', () => {
  const huge = '1700000000';
  expect(writtenKeys('EVAL', ['return 1', huge, 'a', 'b'])).toEqual([Buffer.from('a'), Buffer.from('b')]);
  expect(writtenKeys('LMPOP', [huge, 'a', 'LEFT']).length).toBeLessThanOrEqual(3);
  expect(writtenKeys('BLMPOP', ['0', huge, 'a', 'LEFT']).length).toBeLessThanOrEqual(4);
  expect(writtenKeys('EVAL', ['return 1', '9'.repeat(21), 'k'])).toEqual([]);
  // A key may well be a number.
  expect(writtenKeys('DEL', [huge, '9'])).toEqual([Buffer.from(huge), Buffer.from('9')]);
});
