import { expect, test } from 'vitest';
import { deadLetterOf, escalationLetter } from '../../src/events/dead-letter.js';
import type { IntakeRecord } from '../../src/events/intake.js';
import type { EscalateRequest } from '../../workflows/activities.js';

const RECORD: IntakeRecord = {
  key: Buffer.from([0, 255]),
  value: Buffer.from('not json'),
  headers: {},
  position: { topic: 't', partition: 3, offset: '9007199254740993', timestamp: '1700000000123' },
};
const FAILURE = {
  reason: 'invalid-json',
  stage: 'decode',
  error: { type: 'DecodeError', message: 'the value is not valid JSON' },
  attempts: 1,
} as const;
const REQUEST: EscalateRequest = {
  event: {
    specVersion: 1,
    id: 'w7',
    link: 'east-to-west',
    key: 'AP8=',
    encoding: 'base64',
    command: 'SADD',
    failedAt: '2026-11-20T23:00:05.000Z',
    idempotent: true,
    record: { topic: 't', partition: 3, offset: '12', timestamp: '1700000000123' },
  },
  error: { type: 'TargetReadOnly', message: 'the target is a replica', stage: 'write' },
  attempts: 8,
  firstFailedAt: '2026-11-20T23:00:00.000Z',
  lastFailedAt: '2026-11-20T23:00:05.000Z',
};
const WORKFLOW = { workflowId: 'sha256:00', runId: 'run-1' };

test('the original keeps its key, value, timestamp and headers, also repeated ones', () => {
  const headers = { trace: Buffer.from([200]), twice: [Buffer.from('a'), Buffer.from('b')] };
  const letter = deadLetterOf({ ...RECORD, headers }, FAILURE);
  expect(letter.key).toBe(RECORD.key);
  expect(letter.value).toBe(RECORD.value);
  expect(letter.timestamp).toBe('1700000000123');
  expect(letter.headers).toMatchObject(headers);
});

test('a header without a value, which the Kafka client could not write, becomes an empty one', () => {
  const { headers } = deadLetterOf({ ...RECORD, headers: { none: null, some: [null, Buffer.from('x')] } }, FAILURE);
  expect(headers).toMatchObject({ none: Buffer.alloc(0), some: [Buffer.alloc(0), Buffer.from('x')] });
});

test('a record that fails again after a redrive keeps the count of redrives and no other word of its first failure', () => {
  const headers = {
    'dlq.redrive.count': Buffer.from('2'),
    'dlq.redrive.last_at': Buffer.from('2026-11-20T23:30:00.000Z'),
    'dlq.workflow.id': Buffer.from('stale'),
    'dlq.error.code': Buffer.from('stale'),
  };
  const letter = deadLetterOf({ ...RECORD, headers }, FAILURE);
  expect(letter.headers).toMatchObject({ 'dlq.redrive.count': Buffer.from('2') });
  expect(JSON.stringify(letter.headers)).not.toContain('stale');
  expect(letter.headers).not.toHaveProperty('dlq.workflow.id');
});

test('what is not known has no header, and a record without a time gets none made up', () => {
  const letter = deadLetterOf({ ...RECORD, position: { ...RECORD.position, timestamp: '-1' } }, FAILURE);
  expect(letter).not.toHaveProperty('timestamp');
  expect(letter.headers).toEqual({
    'dlq.reason': 'invalid-json',
    'dlq.stage': 'decode',
    'dlq.original.topic': 't',
    'dlq.original.partition': '3',
    'dlq.original.offset': '9007199254740993',
    'dlq.original.timestamp': '-1',
    'dlq.error.type': 'DecodeError',
    'dlq.error.message': 'the value is not valid JSON',
    'dlq.attempts': '1',
  });
});

test('a text of several lines is one line in its header, and a long one is cut', () => {
  const error = { type: 'Error', message: `first\n  second${'x'.repeat(5_000)}` };
  const text = deadLetterOf(RECORD, { ...FAILURE, error }).headers!['dlq.error.message'] as string;
  expect(text).toMatch(/^first second(x+)$/);
  expect(text).toHaveLength(1024);
});

test('an escalation is a record that can be redriven, with what the workflow knows in its headers', () => {
  const letter = escalationLetter(REQUEST, WORKFLOW);
  expect(letter.key).toEqual(Buffer.from([0, 255]));
  expect(letter.timestamp).toBe('1700000000123');
  const { idempotent: _idempotent, record: _record, ...wire } = REQUEST.event;
  expect(JSON.parse(String(letter.value))).toEqual(wire);
  expect(letter.headers).toEqual({
    'dlq.reason': 'attempts-exhausted',
    'dlq.stage': 'write',
    'dlq.original.topic': 't',
    'dlq.original.partition': '3',
    'dlq.original.offset': '12',
    'dlq.original.timestamp': '1700000000123',
    'dlq.error.type': 'TargetReadOnly',
    'dlq.error.message': 'the target is a replica',
    'dlq.failed.first_at': '2026-11-20T23:00:00.000Z',
    'dlq.failed.last_at': '2026-11-20T23:00:05.000Z',
    'dlq.attempts': '8',
    'dlq.event.id': 'w7',
    'dlq.workflow.id': 'sha256:00',
    'dlq.workflow.run_id': 'run-1',
    'dlq.link': 'east-to-west',
    'dlq.command': 'SADD',
  });
});

test('an escalation whose record is not known says nothing about it; one that no retry heals says so', () => {
  const { record: _record, encoding: _encoding, ...event } = REQUEST.event;
  const error = { type: 'Unsupported', message: 'a module type', stage: null };
  const letter = escalationLetter({ ...REQUEST, event: { ...event, key: 'user:42' }, error }, WORKFLOW);
  expect(letter.key).toEqual(Buffer.from('user:42'));
  expect(letter).not.toHaveProperty('timestamp');
  expect(Object.keys(letter.headers!).filter((name) => name.startsWith('dlq.original'))).toEqual([]);
  expect(letter.headers).not.toHaveProperty('dlq.stage');
  expect(letter.headers).toMatchObject({ 'dlq.reason': 'permanent-error' });
  const own = { type: 'ReservedKey', message: "keymend's own", stage: null };
  expect(escalationLetter({ ...REQUEST, error: own }, WORKFLOW).headers).toMatchObject({
    'dlq.reason': 'reserved-key',
  });
});
