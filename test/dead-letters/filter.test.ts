/** Which letters are meant, how they are counted, and what the rules of a configuration begin. */
import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig } from '../../src/config.js';
import { fingerprintOf, isMeant } from '../../src/dead-letters/filter.js';
import { grouped } from '../../src/dead-letters/groups.js';
import { type Letter, letterOf } from '../../src/dead-letters/letter.js';
import { readRanges, writeRanges } from '../../src/dead-letters/offset-set.js';
import { scheduled } from '../../src/dead-letters/rules.js';
import { LINK, letter } from './bed.js';

const NOW = Date.parse('2024-11-20T23:00:00.000Z');
const MINUTE_MS = 60_000;

function read(
  key: string,
  headers: Readonly<Record<string, string>> = {},
  offset = '0',
  writtenAt: number | null = null,
): Letter {
  const { value, headers: all } = letter(key, {
    'dlq.failed.last_at': new Date(NOW - 10 * MINUTE_MS).toISOString(),
    ...headers,
  });
  const position = { topic: 't', partition: 0, offset, timestamp: '1' };
  return letterOf('0', { key: Buffer.from(key), value, headers: all as Record<string, string>, position }, writtenAt);
}

it.each([
  [{}, true],
  [{ reason: 'attempts-exhausted', errorType: 'TargetReadOnly', link: LINK, prefix: 'user:4' }, true],
  [{ reason: 'cancelled' }, false],
  [{ errorType: 'Contended' }, false],
  [{ link: 'west-to-east' }, false],
  [{ prefix: 'user:5' }, false],
  [{ olderThanMs: 10 * MINUTE_MS }, true],
  [{ olderThanMs: 10 * MINUTE_MS + 1 }, false],
  [{ since: '2024-11-20T22:50:00.000Z' }, true],
  [{ since: '2024-11-20T22:50:00.001Z' }, false],
  [{ until: '2024-11-20T22:50:00.000Z' }, false],
  [{ letters: ['0/0'] }, true],
  [{ letters: ['0/1'] }, false],
  [{ group: fingerprintOf(read('user:7')) }, true],
  [{ group: fingerprintOf(read('order:7')) }, false],
  [{ unless: [{ reason: 'cancelled' }, { errorType: 'TargetReadOnly' }] }, false],
  [{ unless: [{ reason: 'cancelled' }] }, true],
])('the filter %j means the letter: %s', (filter, meant) => {
  expect(isMeant(read('user:42'), filter, NOW)).toBe(meant);
});

it('the age of a letter that was redriven is that of its last redrive', () => {
  const redriven = read('user:42', { 'dlq.redrive.last_at': new Date(NOW - MINUTE_MS).toISOString() });
  expect(isMeant(redriven, { olderThanMs: 5 * MINUTE_MS }, NOW)).toBe(false);
});

it('a letter is as old as it is there, however long ago its write failed', () => {
  const written = read('user:42', {}, '0', NOW - MINUTE_MS);
  expect(isMeant(written, { olderThanMs: 5 * MINUTE_MS }, NOW)).toBe(false);
  expect(isMeant(written, { olderThanMs: MINUTE_MS }, NOW)).toBe(true);
});

it('a time of a clock that was ahead does not keep a letter young for ever', () => {
  const ahead = read('user:42', { 'dlq.redrive.last_at': '2999-01-01T00:00:00.000Z' });
  expect(isMeant(ahead, { olderThanMs: 10 * MINUTE_MS }, NOW)).toBe(true);
});

it('groups count what is alike, the largest first, each with its next command', async () => {
  async function* letters() {
    for (let offset = 0; offset < 5; offset++) yield read(`user:${offset}`, {}, `${offset}`);
    yield read('user:9', { 'dlq.redrive.count': '5' }, '9');
    yield read('x', { 'dlq.reason': 'invalid-json', 'dlq.error.type': 'DecodeError' }, '10');
  }
  const { groups, ...all } = await grouped(letters());
  expect(all).toEqual({ letters: 7, others: 0 });
  const group = fingerprintOf(read('user:1'));
  expect(groups).toMatchObject([
    {
      letters: 6,
      exhausted: 1,
      prefix: 'user:',
      example: '0/0',
      group,
      next: `npx keymend dlq redrive --group ${group}`,
    },
    { letters: 1, reason: 'invalid-json', next: 'npx keymend dlq show 0/10' },
  ]);
});

it('ranges of offsets are read as they were written, and nothing else is', () => {
  const offsets = [3n, 4n, 5n, 9n, 9_007_199_254_740_993n];
  expect(writeRanges([...offsets].reverse())).toBe('3-5,9,9007199254740993');
  expect([...readRanges(writeRanges(offsets))]).toEqual(offsets);
  expect([...readRanges('x,-1,1-,5-1,0-99999999999,7')]).toEqual([7n]);
});

describe('dlq.rules', () => {
  const parse = (rules: unknown) => {
    const links = [{ name: LINK, source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
    return parseConfig(JSON.stringify({ intake: 'redis-stream', links, dlq: { rules } }), 'keymend.yaml', {}).dlq.rules;
  };

  it.each(['1M', '3 M'])('have no age that may be a minute or a month: %s', (olderThan) => {
    expect(() => parse([{ match: { olderThan }, do: 'discard' }])).toThrow(/match\.olderThan: is not a time/);
  });

  it('begin what they say, after as long as they say, and leave what an earlier one means', () => {
    const rules = parse([
      { match: { reason: 'unknown-link' }, do: 'keep' },
      { match: { errorType: 'TargetReadOnly' }, do: 'redrive' },
      { match: { link: LINK, olderThan: '30d' }, do: 'discard', after: '1h' },
    ]);
    const earlier = { reason: 'unknown-link' };
    expect(scheduled(rules)).toEqual([
      {
        name: expect.stringMatching(/^redrive-[0-9a-f]{8}$/),
        everyMs: 10 * MINUTE_MS,
        input: {
          action: 'redrive',
          by: 'rule 2 of dlq.rules',
          leavesWaiting: true,
          filter: { errorType: 'TargetReadOnly', olderThanMs: 10 * MINUTE_MS, unless: [earlier] },
        },
      },
      {
        name: expect.stringMatching(/^discard-[0-9a-f]{8}$/),
        everyMs: 60 * MINUTE_MS,
        input: {
          action: 'discard',
          by: 'rule 3 of dlq.rules',
          leavesWaiting: true,
          filter: {
            link: LINK,
            olderThanMs: 30 * 24 * 60 * MINUTE_MS,
            unless: [earlier, { errorType: 'TargetReadOnly' }],
          },
        },
      },
    ]);
  });

  it.each([
    [{ match: {}, do: 'discard' }, 'dlq.rules[0].match: must say which letters'],
    [{ match: { reason: 'unknown-lnk' }, do: 'keep' }, 'dlq.rules[0].match.reason: must be one of unreadable-batch, '],
    [{ match: { link: 'nowhere' }, do: 'keep' }, 'dlq.rules[0].match.link: "nowhere" is no link of this configuration'],
    [{ match: { link: LINK }, do: 'delete' }, 'dlq.rules[0].do: must be redrive, discard or keep'],
    [{ match: { link: LINK }, do: 'redrive', after: '1s' }, 'dlq.rules[0].after: must be at least 1m'],
    [{ match: { error: 'x' }, do: 'redrive' }, 'unknown key "dlq.rules[0].match.error"'],
  ])('of which one can not be meant so are refused with the place: %j', (rule, message) => {
    expect(() => parse([rule])).toThrow(ConfigError);
    expect(() => parse([rule])).toThrow(message);
  });
});
