/** Dead letters in a stream: those that have a name, and those that are hard to keep. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { parseConfig } from '../../src/config.js';
import type { DeadLetter } from '../../src/events/dead-letter.js';
import { createLinkDeadLetters } from '../../src/outbox/dead-letters.js';
import { LetterStream } from '../../src/outbox/letter-stream.js';
import { connectKeyServers } from '../../src/redis/index.js';
import { startRedis } from '../support/redis.js';

const DLQ = 'keymend:outbox:dlq';

function bytesOf(reply: unknown): number {
  return Array.isArray(reply) ? reply.reduce((sum, part) => sum + bytesOf(part), 0) : (reply as Buffer).length;
}

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
  const publish = (id: string, by = 0, more: Partial<DeadLetter> = {}) => {
    const headers = { ...more.headers, 'dlq.link': 'l', 'dlq.letter.id': id };
    return processes[by]!.publish({ key: Buffer.from('k'), value: null, ...more, headers });
  };
  /** The letters, read and closed; and how large each reply was. */
  const opened = (url = source.url) => {
    const servers = connectKeyServers({ url }, { name: 'source of link l' });
    onTestFinished(() => servers.close());
    const really = servers.send.bind(servers);
    const send = vi.spyOn(servers, 'send');
    /** The second call from now on fails. */
    const failSecond = () => void send.mockImplementationOnce(really).mockRejectedValueOnce(new Error('it died'));
    const replies = () => send.mock.settledResults.map(({ value }) => bytesOf(value.reply));
    return { stream: new LetterStream(servers, DLQ), replies, failSecond };
  };
  return { redis: source.client, url: source.url, publish, warnings, opened };
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

test('headers without end keep no letter from its stream, nor from being put back', async () => {
  const { redis, publish, opened } = await bed();
  const letter = { value: Buffer.from('the value'), headers: { h: Array(4_000).fill('1'), 'dlq.reason': 'cancelled' } };
  await publish('run/1', 0, letter);
  const [[id] = ['']] = await redis.xrange(DLQ, '-', '+');
  await opened().stream.close([id], { key: Buffer.from('k'), ...letter });
  const entries = await redis.xrange(DLQ, '-', '+');
  expect(entries).toHaveLength(1);
  expect(entries[0]![0]).not.toBe(id);
  expect(entries[0]![1].slice(0, 8)).toEqual(['key', 'k', 'value', 'the value', 'dlq.reason', 'cancelled', 'h', '1']);
});

test('one stands for all that are put back, also when whoever deletes them dies amid that', async () => {
  const { redis, opened } = await bed();
  const ids: string[] = [];
  for (let n = 0; n < 600; n++) ids.push((await redis.xadd(DLQ, '*', 'key', 'k'))!);
  const { stream, failSecond } = opened();
  failSecond();
  const ofAll = { key: Buffer.from('k'), value: null, headers: { 'dlq.reason': 'of all' } };
  await expect(stream.close(ids, ofAll)).rejects.toThrow('it died');
  // The next try knows of those alone that are there still.
  await stream.close(ids.slice(500), { ...ofAll, headers: { 'dlq.reason': 'of the others' } });
  const left = await redis.xrange(DLQ, '-', '+');
  expect(left.map(([, fields]) => fields[fields.indexOf('dlq.reason') + 1])).toEqual(['of all', 'of the others']);
});

test.each(['xadd', 'xdel'])(
  'a letter that can not be put back for want of %s stays, and is not there twice',
  async (right) => {
    const { redis, url, publish, opened } = await bed();
    await redis.acl('SETUSER', 'less', 'on', '>pw', '~*', '+@all', `-${right}`);
    await publish('run/1');
    const before = await redis.xrange(DLQ, '-', '+');
    const { stream } = opened(url.replace('redis://', 'redis://less:pw@'));
    const closing = stream.close([before[0]![0]], { key: Buffer.from('k'), value: null, headers: {} });
    await expect(closing).rejects.toThrow('does not let this user');
    expect(await redis.xrange(DLQ, '-', '+')).toEqual(before);
  },
);

test.each(['small', 'large'])(
  'large letters are read one at a time, small ones many at once, with %s ones first',
  async (first) => {
    const { redis, publish, opened } = await bed();
    const small = async () => {
      for (let n = 0; n < 90; n++) await publish(`small/${n}`);
    };
    if (first === 'small') await small();
    for (let n = 0; n < 8; n++) await publish(`large/${n}`, 0, { value: Buffer.alloc(1024 * 1024, 'x') });
    if (first === 'large') await small();
    const { stream, replies } = opened();
    let letters = 0;
    for await (const _letter of stream.records(undefined, '+')) letters += 1;
    expect(letters).toBe(98);
    expect(await redis.xlen(DLQ)).toBe(98);
    expect(Math.max(...replies())).toBeLessThan(1.5 * 1024 * 1024);
    expect(replies().length).toBeLessThan(20);
  },
);
