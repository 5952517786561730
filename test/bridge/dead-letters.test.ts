import { ConfigResourceTypes, type IHeaders } from 'kafkajs';
import { afterEach, describe, expect, test, vi } from 'vitest';
import * as failedWrites from '../../src/events/failed-write-codec.js';
import { bridgeBed, failedWrite, LINK, until } from './bridge-bed.js';

// Real, unless a test makes it fail: no known record does.
vi.mock(import('../../src/events/failed-write-codec.js'), { spy: true });
afterEach(() => {
  vi.resetAllMocks();
});

const TIME = '1700000000123';
const TIME_ISO = '2023-11-14T22:13:20.123Z';

const RESERVED = {
  reason: 'reserved-key',
  'error.type': 'ReservedKey',
  'error.message': "a key that begins with keymend: is keymend's own and is never reconciled",
  'event.id': 'w-own',
  link: LINK,
  command: 'SADD',
};

function textHeaders(headers: IHeaders | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}

describe('a record that no workflow can be told of', () => {
  const future = { ...failedWrite(), specVersion: 2 };
  const unknown = failedWrite({ link: 'nowhere', id: 'w-unknown', failedAt: '2026-11-20T23:00:00.000Z' });
  const cases: [string, Buffer | null, Record<string, string>][] = [
    [
      'not JSON',
      Buffer.from([0x7b, 0xff, 0x00, 0x0a]),
      { reason: 'invalid-json', 'error.type': 'DecodeError', 'error.message': 'the value is not valid UTF-8' },
    ],
    [
      'cut off',
      Buffer.from('{"specVersion":1,"id":"secret'),
      { reason: 'invalid-json', 'error.type': 'DecodeError', 'error.message': 'the value is not valid JSON' },
    ],
    [
      'a tombstone',
      null,
      { reason: 'invalid-record', 'error.type': 'DecodeError', 'error.message': 'the record has no value' },
    ],
    [
      'JSON of another kind',
      Buffer.from('{"specVersion":1,"hello":"world"}'),
      {
        reason: 'invalid-record',
        'error.type': 'DecodeError',
        'error.message': 'id: Invalid input: expected string, received undefined',
      },
    ],
    [
      'of a newer format',
      Buffer.from(JSON.stringify(future)),
      {
        reason: 'unsupported-spec-version',
        'error.type': 'DecodeError',
        'error.message': 'specVersion 2 is newer than this keymend understands; upgrade the bridge, then redrive',
      },
    ],
    [
      'of an unknown link',
      Buffer.from(JSON.stringify(unknown)),
      {
        reason: 'unknown-link',
        'error.type': 'UnknownLink',
        'error.message': 'link "nowhere" is not in the configuration of this bridge; add it, restart, then redrive',
        'event.id': 'w-unknown',
        link: 'nowhere',
        command: 'SADD',
        'failed.first_at': '2026-11-20T23:00:00.000Z',
        'failed.last_at': '2026-11-20T23:00:00.000Z',
      },
    ],
    [
      "of a key of keymend's own",
      Buffer.from(JSON.stringify(failedWrite({ key: 'keymend:budget:east-to-west', id: 'w-own', failedAt: TIME_ISO }))),
      RESERVED,
    ],
    [
      "of a key of keymend's own, in base64, for a link that is not known",
      Buffer.from(
        JSON.stringify(
          failedWrite({
            key: Buffer.concat([Buffer.from('keymend:'), Buffer.from([0xff, 0])]).toString('base64'),
            encoding: 'base64',
            id: 'w-own',
            failedAt: TIME_ISO,
          }),
        ),
      ),
      RESERVED,
    ],
    [
      'with a key over the limit',
      Buffer.from(JSON.stringify(failedWrite({ key: 'k'.repeat(64 * 1024 + 1) }))),
      {
        reason: 'too-large',
        'error.type': 'DecodeError',
        'error.message': 'the key has 65537 bytes; at most 65536 are supported',
      },
    ],
  ];

  test.each(cases)(
    'goes to the dead-letter topic untouched, and the partition moves on: %s',
    async (_title, value, dlq) => {
      const bed = await bridgeBed();
      const key = Buffer.from([0, 1, 254, 255]);
      await bed.produce({ id: 'before', key: 'before' });
      await bed.produce({
        key,
        value,
        timestamp: TIME,
        headers: { trace: Buffer.from([9, 0, 200]), twice: ['a', 'b'] },
      });
      await bed.produce({ id: 'after', key: 'after' });
      const bridge = await bed.start();
      await bed.untilCommitted(3);

      expect(await bed.signalledIds('before')).toEqual([['before']]);
      expect(await bed.signalledIds('after')).toEqual([['after']]);
      expect(bridge.counters).toEqual({ received: 3, signalled: 2, deadLettered: 1 });

      const [letter, ...others] = await bed.deadLetters(1);
      expect(others).toEqual([]);
      expect(letter!.key).toEqual(key);
      expect(letter!.value).toEqual(value);
      expect(letter!.timestamp).toBe(TIME);
      const { trace, twice, ...added } = letter!.headers!;
      expect(trace).toEqual(Buffer.from([9, 0, 200]));
      expect(twice).toEqual([Buffer.from('a'), Buffer.from('b')]);
      const expected = {
        stage: 'decode',
        attempts: '1',
        'original.topic': bed.config.kafka.topic,
        'original.partition': '0',
        'original.offset': '1',
        'original.timestamp': TIME,
        'failed.first_at': TIME_ISO,
        'failed.last_at': TIME_ISO,
        ...dlq,
      };
      expect(textHeaders(added)).toEqual(
        Object.fromEntries(Object.entries(expected).map(([name, text]) => [`dlq.${name}`, text])),
      );

      expect(bed.warnings()).toEqual([
        `the record at ${bed.config.kafka.topic}[0] offset 1 went to the dead-letter topic (${dlq.reason}): ${dlq['error.message']}`,
      ]);
    },
  );

  test('and is larger than its own topic takes with the headers, is compressed', async () => {
    const bed = await bridgeBed({
      deadLetterTopic: { configEntries: [{ name: 'max.message.bytes', value: '1048588' }] },
    });
    const value = Buffer.alloc(1_048_450, 'x');
    await bed.produce({ key: null, value });
    await bed.produce({ id: 'after', key: 'after' });
    await bed.start();
    await bed.untilCommitted(2);
    const [letter] = await bed.deadLetters(1);
    expect(letter!.value!.equals(value)).toBe(true);
    expect(textHeaders(letter!.headers)['dlq.reason']).toBe('invalid-json');
  });

  test('is over 1 MiB and only fits compressed into both topics, is kept as it is', async () => {
    const bed = await bridgeBed();
    const value = Buffer.alloc(1_048_577, '"');
    await bed.admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: ConfigResourceTypes.TOPIC,
          name: bed.config.kafka.topic,
          configEntries: [{ name: 'max.message.bytes', value: '2000000' }],
        },
      ],
    });
    await until(() => bed.produce({ key: null, value }));
    await bed.start();
    await until(() => bed.deadLetterCount().then((count) => expect(count).toBeGreaterThan(0)));
    const [letter] = await bed.deadLetters(1);
    expect(letter!.value!.equals(value)).toBe(true);
    expect(textHeaders(letter!.headers)['dlq.reason']).toBe('too-large');
  });

  test('by the thousand makes one line in the log, not thousands', async () => {
    const bed = await bridgeBed();
    await bed.produce(...Array.from({ length: 1000 }, () => ({ key: null, value: 'nonsense' })));
    await bed.start();
    await bed.untilCommitted(1000);
    expect(await bed.deadLetterCount()).toBe(1000);
    expect(bed.warnings().length).toBeLessThan(10);
    expect(bed.warnings()[0]).toMatch(
      /^\d+ records, the first at .* offset 0, went to the dead-letter topic \(invalid-json\)/,
    );
  });
});

describe('when the dead-letter topic refuses the letter', () => {
  // Random, so that compressing does not help.
  const random = (bytes: number) => Buffer.from(Array.from({ length: bytes }, () => Math.floor(Math.random() * 256)));
  const tooSmall = { configEntries: [{ name: 'max.message.bytes', value: '1000' }] };

  test.each([
    ['its value is too much', { key: 'no user', value: random(3_000) }, 'no user'],
    ['its headers are too much', { key: 'no user', value: 'no JSON', headers: { trace: random(3_000) } }, 'no user'],
    ['its key is too much', { key: random(3_000), value: 'no JSON' }, /^failed-writes-\w+\/0\/1$/],
  ])('for %s, its position is kept, said loudly, and nothing is held up', async (_what, message, key) => {
    const bed = await bridgeBed({ deadLetterTopic: tooSmall });
    await bed.produce({ id: 'before', key: 'k' }, message, { id: 'after', key: 'k' });
    await bed.start();
    await bed.untilCommitted(3);
    expect(await bed.signalledIds('k')).toEqual([['before', 'after']]);
    const [letter] = await bed.deadLetters(1);
    expect(letter!.value).toHaveLength(0);
    expect(String(letter!.key)).toMatch(key);
    const { topic, deadLetterTopic } = bed.config.kafka;
    expect(textHeaders(letter!.headers)).toMatchObject({
      'dlq.reason': 'invalid-json',
      'dlq.original.topic': topic,
      'dlq.original.partition': '0',
      'dlq.original.offset': '1',
    });
    expect(bed.warnings().join()).toMatch(
      new RegExp(
        `only the position of the record at ${topic}\\[0\\] offset 1.*--entity-name ${deadLetterTopic} --add-config`,
      ),
    );
  });
});

test('of a topic that keeps one record a key, a letter without a key is refused for good: it holds up nothing', async () => {
  const bed = await bridgeBed({ deadLetterTopic: { configEntries: [{ name: 'cleanup.policy', value: 'compact' }] } });
  await bed.produce({ key: null, value: 'no JSON' }, { id: 'after', key: 'k' });
  await bed.start();
  await bed.untilCommitted(2);
  const [letter] = await bed.deadLetters(1);
  expect(textHeaders(letter!.headers)).toMatchObject({ 'dlq.reason': 'invalid-json', 'dlq.original.offset': '0' });
});

test('a bug that a record provokes in the decoder costs that record alone', async () => {
  const bed = await bridgeBed();
  const actual = await vi.importActual<typeof failedWrites>('../../src/events/failed-write-codec.js');
  vi.mocked(failedWrites.decodeFailedWrite).mockImplementation((value) => {
    if (value?.includes('provoke')) throw new TypeError("Cannot read properties of undefined (reading 'x')");
    return actual.decodeFailedWrite(value);
  });
  await bed.produce({ id: 'before', key: 'k' }, { id: 'provoke', key: 'k' }, { id: 'after', key: 'k' });
  await bed.start();
  await bed.untilCommitted(3);
  expect(await bed.signalledIds('k')).toEqual([['before', 'after']]);
  const [letter] = await bed.deadLetters(1);
  expect(textHeaders(letter!.headers)).toMatchObject({ 'dlq.reason': 'internal-error', 'dlq.error.type': 'TypeError' });
  expect(JSON.parse(String(letter!.value))).toMatchObject({ id: 'provoke', link: LINK });
});
