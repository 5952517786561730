import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DecodedRecord,
  decodeFailedWrite,
  encodeFailedWrite,
  encodeKey,
  keyBytes,
  MAX_KEY_BYTES,
  MAX_RECORD_BYTES,
} from '../../src/events/failed-write-codec.js';
import type { FailedWrite } from '../../workflows/messages.js';

const MINIMAL = {
  specVersion: 1,
  id: '01JD',
  link: 'east-to-west',
  key: 'user:42',
  failedAt: '2026-11-20T23:00:00.000Z',
} as const;

function decode(record: unknown): DecodedRecord {
  return decodeFailedWrite(Buffer.from(JSON.stringify(record)));
}

function decoded(record: unknown): FailedWrite {
  const result = decode(record);
  if (!result.ok) throw new Error(result.problem.message);
  return result.event;
}

function problemOf(result: DecodedRecord): string {
  if (result.ok) throw new Error('decoded');
  return `${result.problem.reason}: ${result.problem.message}`;
}

describe('a failed-write record', () => {
  test('needs only specVersion, id, link, key and failedAt', () => {
    expect(decode(MINIMAL)).toEqual({ ok: true, event: MINIMAL, key: Buffer.from('user:42') });
    expect(problemOf(decode({ ...MINIMAL, link: 'l'.repeat(65) }))).toMatch(/^invalid-record: link: /);
    for (const name of Object.keys(MINIMAL)) {
      expect(problemOf(decode({ ...MINIMAL, [name]: undefined }))).toMatch(new RegExp(`^invalid-record: ${name}: `));
    }
  });

  test('keeps what version 1 knows and drops the rest, so that no value of a user slips through', () => {
    const full = {
      ...MINIMAL,
      encoding: 'utf8',
      command: 'SADD',
      members: ['a', 'b'],
      outcome: 'unknown',
      error: { code: 'READONLY', message: 'no' },
      origin: 'orders-api',
    };
    const extra = {
      value: 'secret',
      record: { topic: 'x' },
      idempotent: true,
      error: { ...full.error, args: ['secret'] },
    };
    expect(decoded({ ...full, ...extra })).toEqual(full);
  });

  test('takes null for absent, as many serialisers write it', () => {
    const nulls = { command: null, members: null, outcome: null, encoding: null, origin: null, error: { code: null } };
    expect(decoded({ ...MINIMAL, ...nulls })).toEqual({ ...MINIMAL, error: {} });
  });

  test('of a newer format is told apart from a broken one', () => {
    const line = 'specVersion 2 is newer than this keymend understands; upgrade the bridge, then redrive';
    expect(problemOf(decode({ specVersion: 2, anything: true }))).toBe(`unsupported-spec-version: ${line}`);
    for (const specVersion of [0, -1, '1', 1.5, null]) {
      expect(problemOf(decode({ ...MINIMAL, specVersion }))).toMatch(/^invalid-record: specVersion: /);
    }
  });

  test.each([
    ['2026-11-20T23:00:00Z', '2026-11-20T23:00:00.000Z'],
    ['2026-11-21T00:00:00.123456+01:00', '2026-11-20T23:00:00.123Z'],
    ['2026-11-20T23:00:00.123456789Z', '2026-11-20T23:00:00.123Z'],
  ])('brings its time to UTC: %s', (written, read) => {
    expect(decoded({ ...MINIMAL, failedAt: written }).failedAt).toBe(read);
  });

  test.each(['yesterday', '2026-11-20', '2026-11-20T23:00:00', '2026-02-30T00:00:00Z', '', 1_700_000_000_000])(
    'is invalid with the time %j',
    (failedAt) => {
      expect(problemOf(decode({ ...MINIMAL, failedAt }))).toMatch(/^invalid-record: failedAt: is not an ISO 8601 time/);
    },
  );

  test.each(['sAdd', 'json.set', 'FT._x-1', 'X'.repeat(64)])('brings its command to upper case: %j', (command) => {
    expect(decoded({ ...MINIMAL, command }).command).toBe(command.toUpperCase());
  });

  const NO_COMMANDS = [
    '',
    'x'.repeat(65),
    'S ADD',
    'SADD\n',
    '\u001b]0;x\u0007',
    '[x](http://y)',
    'ſadd',
    7,
    [],
    {},
    false,
  ];
  test.each(NO_COMMANDS)('without a command that a Redis could have means the whole key: %j', (command) => {
    expect(decoded({ ...MINIMAL, command, members: ['a'] })).toEqual({ ...MINIMAL, members: ['a'] });
  });

  const NO_MEMBERS = ['a', 1, {}, true, ['a', 1], [null], [['a']], [String.fromCharCode(0xd800)]];
  test.each(NO_MEMBERS)('with members that are no texts means the whole key: %j', (members) => {
    expect(decoded({ ...MINIMAL, command: 'SADD', members })).toEqual({ ...MINIMAL, command: 'SADD' });
  });

  test('cuts the texts of the error and the origin', () => {
    const long = 'e'.repeat(511) + '😀'.repeat(300);
    const { error, origin } = decoded({ ...MINIMAL, error: { code: long, message: long }, origin: long });
    expect(error!.message).toHaveLength(512);
    expect(error!.message).toBe(`${'e'.repeat(511)}\ufffd`);
    expect(error!.code).toHaveLength(256);
    expect(origin).toHaveLength(256);
  });

  test('with more than 1,000 members or 64 KiB of them means the whole key', () => {
    const many = (count: number, length: number) =>
      Array.from({ length: count }, (_, index) => `${index}`.padStart(length, 'm'));
    expect(decoded({ ...MINIMAL, members: many(1_000, 10) }).members).toHaveLength(1_000);
    expect(decoded({ ...MINIMAL, members: many(1_001, 10) })).not.toHaveProperty('members');
    expect(decoded({ ...MINIMAL, members: many(600, 100) }).members).toHaveLength(600);
    expect(decoded({ ...MINIMAL, members: many(700, 100) })).not.toHaveProperty('members');
    // Control characters take six bytes each on their way to Temporal.
    expect(decoded({ ...MINIMAL, members: ['\u0001'.repeat(11_000)] })).not.toHaveProperty('members');
  });

  test('has a key of at most 64 KiB and a value of at most 1 MiB', () => {
    expect(decode({ ...MINIMAL, key: 'k'.repeat(MAX_KEY_BYTES) }).ok).toBe(true);
    expect(problemOf(decode({ ...MINIMAL, key: 'é'.repeat(MAX_KEY_BYTES / 2 + 1) }))).toMatch(
      /^too-large: the key has 65538 bytes/,
    );
    const padded = (bytes: number) => Buffer.from(JSON.stringify(MINIMAL).padEnd(bytes));
    expect(decodeFailedWrite(padded(MAX_RECORD_BYTES)).ok).toBe(true);
    expect(problemOf(decodeFailedWrite(padded(MAX_RECORD_BYTES + 1)))).toMatch(
      /^too-large: the value has 1048577 bytes/,
    );
  });

  test('must be JSON in UTF-8, with or without a byte order mark', () => {
    expect(problemOf(decodeFailedWrite(null))).toBe('invalid-record: the record has no value');
    expect(problemOf(decodeFailedWrite(Buffer.alloc(0)))).toBe('invalid-json: the value is not valid JSON');
    expect(problemOf(decodeFailedWrite(Buffer.from('[]')))).toBe('invalid-record: the value is not a JSON object');
    const latin1 = Buffer.from(JSON.stringify({ ...MINIMAL, key: 'é' }), 'latin1');
    expect(problemOf(decodeFailedWrite(latin1))).toBe('invalid-json: the value is not valid UTF-8');
    expect(decodeFailedWrite(Buffer.from(`\ufeff${JSON.stringify(MINIMAL)}`)).ok).toBe(true);
  });

  test('has a key that can be bytes: no half of a surrogate pair, no base64 that is none', () => {
    const half = String.fromCharCode(0xd800);
    for (const name of ['id', 'link', 'key']) {
      expect(problemOf(decode({ ...MINIMAL, [name]: `a${half}` }))).toMatch(new RegExp(`^invalid-record: ${name}: `));
    }
    for (const text of ['a', 'user:42', 'AA=', 'A===', 'AA==AA==', 'A-_A']) {
      expect(problemOf(decode({ ...MINIMAL, key: text, encoding: 'base64' }))).toMatch(
        /^invalid-record: key: is not base64/,
      );
      const base64 = { ...MINIMAL, key: '', encoding: 'base64' };
      expect(decoded({ ...base64, members: ['', text] })).toEqual(base64);
    }
  });

  test('with an outcome that is unknown to us, or an error that is none, is invalid', () => {
    expect(problemOf(decode({ ...MINIMAL, outcome: 'lost' }))).toMatch(/^invalid-record: outcome: /);
    expect(problemOf(decode({ ...MINIMAL, error: 'READONLY' }))).toMatch(/^invalid-record: error: /);
    expect(problemOf(decode({ ...MINIMAL, error: { code: 7 } }))).toMatch(/^invalid-record: error.code: /);
  });

  test('has one line about its first problem, however many it has', () => {
    const line = problemOf(decode({ ...MINIMAL, id: 7, link: '', key: [], outcome: 'lost', error: { code: 1 } }));
    expect(line).toMatch(/^invalid-record: id: [^;\n]{1,100}$/);
    const members = Array(500_000).fill(0);
    expect(problemOf(decode({ ...MINIMAL, id: 7, members }))).toMatch(/^invalid-record: id: [^;\n]{1,100}$/);
  });

  test('never makes the decoder throw, nor repeat what it holds', () => {
    const anything = fc.oneof(
      fc.uint8Array().map(Buffer.from),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .record(
          Object.fromEntries(
            [
              'specVersion',
              'id',
              'link',
              'key',
              'encoding',
              'command',
              'members',
              'outcome',
              'failedAt',
              'error',
              'origin',
            ].map((name) => [
              name,
              fc.oneof(fc.constant((MINIMAL as Record<string, unknown>)[name]), fc.anything(), fc.string()),
            ]),
          ),
          { requiredKeys: [] },
        )
        .map((record) => Buffer.from(safeJson(record))),
    );
    fc.assert(
      fc.property(anything, (value) => {
        decodeFailedWrite(value);
      }),
      { numRuns: 2_000 },
    );
    const secret = 'SECRET-VALUE';
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(
            'specVersion',
            'id',
            'link',
            'key',
            'encoding',
            'members',
            'outcome',
            'failedAt',
            'error',
            'x',
          ),
          fc.constantFrom<unknown>(secret, [secret], { [secret]: secret }, 1),
        ),
        (record) => {
          const result = decode(record);
          expect(JSON.stringify(result.ok ? {} : result.problem)).not.toContain(secret);
        },
      ),
    );
  });
});

test('what is encoded is decoded to the same, without what intakes add', () => {
  const event: FailedWrite = {
    ...MINIMAL,
    encoding: 'base64',
    key: Buffer.from([0, 255]).toString('base64'),
    members: [''],
    outcome: 'refused',
    command: 'SREM',
    error: { code: 'OOM' },
  };
  const added = { idempotent: true, record: { topic: 't', partition: 0, offset: '1', timestamp: '2' } };
  expect(JSON.parse(String(encodeFailedWrite({ ...event, ...added })))).toEqual(event);
  expect(decodeFailedWrite(encodeFailedWrite(event))).toEqual({ ok: true, event, key: Buffer.from([0, 255]) });
});

test('a key survives being text, whatever its bytes', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        const key = Buffer.from(bytes);
        const encoded = encodeKey(key);
        expect(keyBytes(encoded)).toEqual(key);
        const { ok } = decode({ ...MINIMAL, ...encoded });
        expect(ok).toBe(true);
      },
    ),
  );
  expect(encodeKey(Buffer.from('grün'))).toEqual({ key: 'grün', encoding: 'utf8' });
  expect(encodeKey(Buffer.from([0xff]))).toEqual({ key: '/w==', encoding: 'base64' });
});

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value, (_name, part) => (typeof part === 'bigint' ? String(part) : part)) ?? '';
  } catch {
    return '';
  }
}
