import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeFailedWrite, MAX_MEMBERS, MAX_RECORD_BYTES } from '../../src/events/failed-write-codec.js';
import { FIELDS, schema } from '../../src/events/failed-write-schema.js';
import { generatedCases } from '../support/cases.js';

const ORDINARY = {
  specVersion: 1,
  id: '01JD2Y4Q9Z8V7W6X5T4R3S2P1N',
  link: 'east-to-west',
  key: 'user:42',
  encoding: 'utf8',
  command: 'SADD',
  members: ['a', 'b'],
  outcome: 'unknown',
  failedAt: '2026-11-20T23:00:00.000Z',
  error: { code: 'READONLY', message: "You can't write against a read only replica." },
  origin: 'orders-api',
};

const time = fc
  .tuple(fc.date({ noInvalidDate: true, min: new Date('0000-01-01'), max: new Date('9999-12-31') }), fc.nat(9))
  .map(([date, form]) => {
    const text = date.toISOString();
    const forms = ['Z', '', '+01:00', '-23:59', '+24:00', 'z', '123456Z', ' Z', '+0100', 'ZZ'];
    return form === 0 ? text : text.slice(0, -1) + forms[form];
  });
const odd = fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue(), fc.constant(undefined), fc.constant(null));

/** Mostly what a record may say, so that a single fault decides. */
function mostly(good: fc.Arbitrary<unknown>) {
  return fc.oneof({ weight: 12, arbitrary: good }, { weight: 1, arbitrary: odd });
}

const record = fc.record(
  {
    specVersion: mostly(fc.constant(1)),
    id: mostly(fc.string({ minLength: 1, maxLength: 300 })),
    link: mostly(fc.oneof(fc.constant('east'), fc.string({ maxLength: 70 }))),
    key: mostly(fc.oneof(fc.string(), fc.constant('AAAA'))),
    encoding: mostly(fc.constantFrom('utf8', 'base64', null, undefined)),
    command: mostly(fc.constantFrom('SADD', 'sadd', undefined)),
    members: mostly(fc.array(fc.oneof({ weight: 9, arbitrary: fc.string() }, odd))),
    outcome: mostly(fc.constantFrom('refused', 'unknown', null)),
    failedAt: mostly(
      fc.oneof(time, fc.constantFrom('2024-02-29T23:59Z', '2023-02-29T00:00:00Z', '2026-11-20T24:00:00Z')),
    ),
    error: mostly(fc.record({ code: mostly(fc.string()), message: mostly(fc.string()) }, { requiredKeys: [] })),
    origin: mostly(fc.string()),
  },
  { requiredKeys: ['specVersion', 'id', 'link', 'key', 'failedAt'] },
);

/** The decoder, said once more by the schema alone: slow, and easily seen to be right. */
function bySchema(json: object): unknown {
  const parsed = schema.safeParse(withoutNulls(json));
  if (!parsed.success) return null;
  const { encoding = 'utf8', id, link, key, command, members, error, ...rest } = parsed.data;
  const isText = (text: string) => !/\p{Surrogate}/u.test(text);
  const isBase64 = (text: string) => /^(?:[A-Za-z0-9+/]{4})*(?:|[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)$/.test(text);
  const isBytes = encoding === 'base64' ? isBase64 : isText;
  if (![id, link, key].every(isText) || !isBytes(key)) return null;
  const cut = (text: string | undefined, length: number) => text?.slice(0, length).replace(/\p{Surrogate}/gu, '\ufffd');
  return {
    ...parsed.data,
    id,
    link,
    key,
    failedAt: new Date(rest.failedAt).toISOString(),
    command: schema.shape.command.unwrap().options[0].safeParse(command).success
      ? String(command).toUpperCase()
      : undefined,
    members:
      Array.isArray(members) && members.every((each) => typeof each === 'string' && isBytes(each))
        ? members
        : undefined,
    error: error && { code: cut(error.code, 256), message: cut(error.message, 512) },
    origin: cut(rest.origin, 256),
  };
}

function withoutNulls(json: object): object {
  return JSON.parse(JSON.stringify(json), (name, value) =>
    value === null && (FIELDS as string[]).concat('code', 'message').includes(name) ? undefined : value,
  );
}

test('what is read by hand is what the schema takes, to the same value', () => {
  let taken = 0;
  fc.assert(
    fc.property(record, (json) => {
      const decoded = decodeFailedWrite(Buffer.from(JSON.stringify(json)));
      const { specVersion } = json;
      // A newer format is told apart before anything else is looked at.
      if (!decoded.ok && decoded.problem.reason === 'unsupported-spec-version') return specVersion !== 1;
      const expected = bySchema(json);
      if (expected === null) {
        expect(decoded).toMatchObject({ ok: false, problem: { reason: 'invalid-record' } });
        expect(decoded).not.toHaveProperty('problem.message', 'it does not follow the schema');
        return true;
      }
      taken += 1;
      expect(decoded).toMatchObject({ ok: true });
      expect(decoded.ok && decoded.event).toEqual(expected);
      return true;
    }),
    { numRuns: generatedCases(2_000) },
  );
  expect(taken).toBeGreaterThan(200);
});

/**
 * How often as much time the first takes as the second: medians of many short turns in turn, so
 * that whatever else the machine does meets both.
 */
function ratio(one: () => unknown, other: () => unknown): number {
  const works = [one, other];
  const lasting = (work: () => unknown, times: number) => {
    const begunAt = performance.now();
    for (let time = 0; time < times; time++) work();
    return performance.now() - begunAt;
  };
  const times = Math.ceil(0.3 / Math.max(0.001, ...works.map((work) => lasting(work, 20) / 20)));
  const turns = times === 1 ? 15 : 300;
  const lasted = works.map(() => [] as number[]);
  for (let turn = 0; turn < turns; turn++) {
    works.forEach((work, index) => void lasted[index]!.push(lasting(work, times)));
  }
  const [first, second] = lasted.map((all) => all.sort((a, b) => a - b)[Math.floor(turns / 2)]!);
  return first! / second!;
}

function fullOf(unit: string, head: object = {}): Buffer {
  const start = JSON.stringify({ ...ORDINARY, members: undefined, ...head }).slice(0, -1);
  const room = MAX_RECORD_BYTES - start.length - 30;
  return Buffer.from(`${start},"members":[${Array(Math.floor(room / (unit.length + 1))).fill(unit)}]}`);
}

function bytesOf(record: object): Buffer {
  return Buffer.from(JSON.stringify(record));
}

const { specVersion, id, link, key, failedAt } = ORDINARY;

test.each<[string, Buffer, number]>([
  // A whole object is made of what is parsed in a microsecond or less.
  ['an ordinary record', bytesOf(ORDINARY), 3],
  ['as many members as are read', bytesOf({ ...ORDINARY, members: Array(MAX_MEMBERS).fill('member:1234') }), 3],
  ['a record with nothing but what is required', bytesOf({ specVersion, id, link, key, failedAt }), 3],
  ['1 MiB of members that are none', fullOf('0'), 2],
  ['1 MiB of members', fullOf('"a"'), 2],
  ['1 MiB of lists', fullOf('[]'), 2],
  ['1 MiB of members, and no id', fullOf('0', { id: 7 }), 2],
  ['one member of 1 MiB', fullOf(`"${'a'.repeat(1_000_000)}"`), 3],
  ['a key of 1 MiB', bytesOf({ ...ORDINARY, key: 'A'.repeat(1_000_000), encoding: 'base64' }), 5],
  ['an id of 1 MiB', bytesOf({ ...ORDINARY, id: ' '.repeat(1_000_000) }), 4],
  ['a time of 1 MiB', bytesOf({ ...ORDINARY, failedAt: `2026-11-20T23:00:00.${'0'.repeat(1_000_000)}Z` }), 5],
  ['an error of 1 MiB', bytesOf({ ...ORDINARY, error: { message: '\ud83d\ude00'.repeat(200_000) } }), 3],
  ['90,000 fields that nobody knows', bytesOf({ ...ORDINARY, id: 7, ...Array(90_000).fill(0) }), 6],
])('reading %s costs little beside JSON.parse', (_what, value, most) => {
  // Warm, as in a bridge.
  for (let time = 0; time < 3_000_000 / (value.length + 300); time++) decodeFailedWrite(value);
  const parse = () => JSON.parse(value.toString('utf8'));
  // The compiled code of a busy machine comes late.
  let least = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 10 && least >= most; tries++) {
    least = Math.min(
      least,
      ratio(() => decodeFailedWrite(value), parse),
    );
  }
  expect(least).toBeLessThan(most);
});
