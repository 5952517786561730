/** Dead letters that have a name, in a stream. */
import { expect, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { createLinkDeadLetters } from '../../src/outbox/dead-letters.js';
import { startRedis } from '../support/redis.js';

const DLQ = 'keymend:outbox:dlq';

async function bed(maxEntries = 100) {
  const source = await startRedis();
  const links = [{ name: 'l', source: { url: source.url }, target: { url: 'redis://127.0.0.1:1' } }];
  const text = JSON.stringify({ intake: 'redis-stream', stream: { maxEntries }, links });
  const warnings: string[] = [];
  const warn = (line: string) => void warnings.push(line);
  const processes = [1, 2].map(() => createLinkDeadLetters(parseConfig(text, 'the test', {}), warn));
  onTestFinished(async () => {
    await Promise.all(processes.map((letters) => letters.close()));
    await source.stop();
  });
  const publish = (id: string, by = 0) =>
    processes[by]!.publish({ key: Buffer.from('k'), value: null, headers: { 'dlq.link': 'l', 'dlq.letter.id': id } });
  return { redis: source.client, publish, warnings };
}

test('each is there once, whoever publishes it how often at the same time', async () => {
  const { redis, publish } = await bed();
  await Promise.all([0, 1, 0, 1].flatMap((by) => [publish('run/1', by), publish('run/2', by)]));
  const entries = await redis.xrange(DLQ, '-', '+');
  expect(entries.map(([, fields]) => fields[fields.indexOf('dlq.letter.id') + 1]).toSorted()).toEqual([
    'run/1',
    'run/2',
  ]);
});

test('one that was dealt with does not come back', async () => {
  const { redis, publish } = await bed();
  await publish('run/1');
  const [[id] = ['']] = await redis.xrange(DLQ, '-', '+');
  await redis.xdel(DLQ, id);
  await publish('run/1', 1);
  expect(await redis.xlen(DLQ)).toBe(0);
});

test('as many names are kept as the stream may have entries, and not for ever', async () => {
  const { redis, publish } = await bed(3);
  for (let n = 1; n <= 5; n++) {
    await publish(`run/${n}`);
    if (n >= 3) await redis.del(DLQ);
  }
  expect(await redis.zcard(`${DLQ}:ids`)).toBe(3);
  expect(await redis.ttl(`${DLQ}:ids`)).toBeGreaterThan(86_400);
});

test('a user that may write the stream alone loses no letter, and one line says what that means', async () => {
  const { redis, publish, warnings } = await bed();
  await redis.acl('SETUSER', 'default', 'resetkeys', `~${DLQ}`);
  for (const id of ['run/1', 'run/1', 'run/2']) await publish(id);
  expect(await redis.xlen(DLQ)).toBe(3);
  expect(warnings).toEqual([
    expect.stringMatching(/Until keymend:outbox:dlq:ids may be written, letters can be there twice$/),
  ]);
});

test('what else stands in the place of the names holds up no letter', async () => {
  const { redis, publish } = await bed();
  await redis.set(`${DLQ}:ids`, 'something');
  await publish('run/1');
  expect(await redis.xlen(DLQ)).toBe(1);
});
