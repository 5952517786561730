/**
 * What servers say of their commands, read as if the table did not know any: held against the
 * table, which is held against what the commands do.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DescribedCommand, keysWrittenAsDescribed, readDescription } from '../../src/commands/described.js';
import { provideRedis62, provideRedis82, provideValkey9 } from '../../src/stack/programs/index.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { SAMPLES } from './command-samples.js';

const keysOf = (command: DescribedCommand, args: readonly string[]) =>
  keysWrittenAsDescribed(command, args)?.map(String);

function isRead(binary: string | undefined, unnameable: readonly string[]): void {
  let server: RedisServer;
  const commands = new Map<string, DescribedCommand>();
  beforeAll(async () => {
    server = await startRedis([], binary === undefined ? {} : { binary });
    for (const entry of (await server.client.call('COMMAND')) as unknown[]) {
      const command = readDescription(entry)!;
      commands.set(command.name, command);
    }
  });
  afterAll(() => server?.stop());

  test('of a write all its keys, of which it may only read some, or none that it can name', () => {
    const withoutName = new Set<string>();
    for (const { line, keys } of SAMPLES) {
      const [name = '', ...args] = line.split(' ');
      const command = commands.get(name);
      if (command === undefined) continue;
      const found = keysOf(command, args);
      if (found === undefined) withoutName.add(name);
      else expect(found, line).toEqual(expect.arrayContaining([...keys]));
    }
    expect([...withoutName].toSorted()).toEqual(unnameable);
  });

  test.each([
    'GET k',
    'HGETALL k',
    'ZUNION 2 a b',
    'XRANGE k - +',
    'SCAN 0',
    'PING',
    'SUBSCRIBE a',
    'OBJECT ENCODING k',
  ])('of %s that it writes nothing', (line) => {
    const [name = '', ...args] = line.split(' ');
    if (commands.has(name)) expect(keysOf(commands.get(name)!, args)).toEqual([]);
  });

  test('no more keys than there are, whatever a command line says', () => {
    for (const line of ['EVAL s 2000000000 a b', 'LMPOP 1e9 a LEFT', 'ZUNIONSTORE to 9999999999999999999 a']) {
      const [name = '', ...args] = line.split(' ');
      const command = commands.get(name);
      if (command !== undefined) expect(keysOf(command, args)?.length ?? 0, line).toBeLessThanOrEqual(args.length);
    }
  });
}

/** Options in front of keys, which no specification describes. */
const BEHIND_OPTIONS = ['MIGRATE', 'SORT'];
const COUNTED = ['EVAL', 'EVALSHA', 'ZDIFFSTORE', 'ZINTERSTORE', 'ZUNIONSTORE'];
const BEHIND_WORDS = ['GEORADIUS', 'GEORADIUSBYMEMBER', 'XREADGROUP'];

describe('the server of the stack says', () => isRead(undefined, BEHIND_OPTIONS));
await describeWith('Redis 6.2, which has no specifications of keys, says', provideRedis62, (binary) =>
  isRead(binary, [...BEHIND_OPTIONS, ...COUNTED, ...BEHIND_WORDS].toSorted()),
);
await describeWith('Redis 8.2 says', provideRedis82, (binary) => isRead(binary, BEHIND_OPTIONS));
await describeWith('Valkey 9 says', provideValkey9, (binary) => isRead(binary, BEHIND_OPTIONS));
