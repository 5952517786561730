/** A key that ends at a moment, and a write that makes it anew and is on its way then. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { classify } from '../../src/dual-write/source/write.js';
import { Lifetimes } from '../../src/dual-write/target/lifetimes.js';
import type { MirroredWrite } from '../../src/dual-write/target/mirror-answers.js';
import { planMirror } from '../../src/dual-write/target/mirror-plan.js';
import { UsualWay } from '../../src/dual-write/target/usual-way.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Given to the source, answered by it and sent to the target now. */
function now(line: string, reply: unknown = Buffer.from('1')): MirroredWrite {
  const [command = '', ...args] = line.split(' ');
  const found = classify(command, args);
  if (found.kind !== 'write') throw new Error(`${line} is ${found.kind}`);
  const plan = planMirror(found.write, reply);
  if (plan.kind !== 'replay') throw new Error(`${line} is not replayed`);
  const nowMs = performance.now();
  return { write: found.write, replay: plan.replay, reply, sinceMs: nowMs, repliedMs: nowMs, heldMs: 0 };
}

/**
 * `first` is answered at once, but read after 500 ms; 100 ms before its key ends the other leaves,
 * for so long.
 */
function told(first: string, second: string, tookMs: number, answer?: unknown, firstAnswer?: unknown): unknown {
  const lifetimes = new Lifetimes();
  const way = new UsualWay();
  const answered = (mirrored: MirroredWrite, doneMs: number) =>
    lifetimes.answered([mirrored], mirrored.repliedMs, doneMs, way);
  const one = now(first, firstAnswer);
  vi.advanceTimersByTime(500);
  answered(one, one.repliedMs);
  vi.advanceTimersByTime(400);
  const other = now(second, answer);
  vi.advanceTimersByTime(tookMs);
  return answered(other, performance.now())?.error.code;
}

const at = () => Date.now() + 1_000;

it.each<[string, () => string, second: string]>([
  ['PEXPIREAT', () => `PEXPIREAT k ${at()}`, 'HSET k f v'],
  ['SET … PXAT', () => `SET k v PXAT ${at()}`, 'SETRANGE k 0 w'],
  ['MSETEX … PXAT', () => `MSETEX 2 j v k v PXAT ${at()}`, 'SETRANGE k 0 w'],
  ['MSETEX … EXAT', () => `MSETEX 1 k v EXAT ${at() / 1000}`, 'SETRANGE k 0 w'],
  ['RESTORE … ABSTTL', () => `RESTORE k ${at()} payload REPLACE ABSTTL`, 'HSET k f v'],
  ['PXAT, made anew by MSETEX … KEEPTTL', () => `SET k v PXAT ${at()}`, 'MSETEX 1 k w KEEPTTL'],
])('%s: is told then and not before, however late its own answer is read', (_, first, second) => {
  vi.setSystemTime(1_000_000);
  expect(told(first(), second, 200)).toBe('EXPIRED_MEANWHILE');
  vi.setSystemTime(1_000_000);
  expect(told(first(), second, 50)).toBe(undefined);
});

it.each<[first: string, second: string, made: number, added: number]>([
  ['SET k 0 PX 1000', 'INCR k', 1, 2],
  ['SET k 0 PX 1000', 'INCRBY k 5', 5, 6],
  ['SET k 0 PX 1000', 'DECR k', -1, 0],
  ['SET k 0 PX 1000', 'DECRBY k 5', -5, -4],
  ['SET k v PX 1000', 'APPEND k wé', 3, 4],
])('%s, %s: is told where its reply is that of a key that it made', (first, second, made, added) => {
  expect(told(first, second, 200, made)).toBe('EXPIRED_MEANWHILE');
  expect(told(first, second, 200, added)).toBe(undefined);
  expect(told(first, second, 50, made)).toBe(undefined);
});

it('GETEX … PERSIST takes the end of its key away', () => {
  const lifetimes = new Lifetimes();
  const answered = (line: string, reply: unknown) => {
    const mirrored = now(line, reply);
    vi.advanceTimersByTime(450);
    return lifetimes.answered([mirrored], mirrored.repliedMs, performance.now(), new UsualWay())?.error.code;
  };
  answered(`SET k 0 PXAT ${at()}`, 'OK');
  answered('GETEX k PERSIST', Buffer.from('0'));
  expect(answered('INCR k', 1)).toBe(undefined);
});

it.each<[first: string, second: string, made: unknown, added: unknown]>([
  ['HPEXPIRE k 1000 FIELDS 1 f', 'HINCRBY k f 1', 1, 2],
  ['HEXPIRE k 1 FIELDS 2 g f', 'HINCRBY k f -5', -5, 6],
  ['HPEXPIREAT k AT FIELDS 1 f', 'HINCRBYFLOAT k f 1.5', Buffer.from('1.5'), Buffer.from('3')],
  ['HSETEX k PX 1000 FIELDS 1 f 0', 'HINCRBY k f 1', 1, 2],
  ['HGETEX k PX 1000 FIELDS 1 f', 'HINCRBY k f 1', 1, 2],
])('%s, %s: is told where its reply is that of a field that it made', (first, second, made, added) => {
  const reply = first.startsWith('HSETEX') ? 1 : first.includes('FIELDS 2') ? [1, 1] : [1];
  const toldOf = (line: string, tookMs: number, answer: unknown) => {
    vi.setSystemTime(1_000_000);
    return told(first.replace('AT F', `${at()} F`), line, tookMs, answer, reply);
  };
  expect(toldOf(second, 200, made)).toBe('EXPIRED_MEANWHILE');
  expect(toldOf(second, 200, added)).toBe(undefined);
  expect(toldOf(second, 50, made)).toBe(undefined);
  expect(toldOf(second.replace(' f ', ' other '), 200, made)).toBe(undefined);
});

it('HSETEX … KEEPTTL of a field that ended meanwhile is told, and only of that', () => {
  expect(told('HPEXPIRE k 1000 FIELDS 1 f', 'HSETEX k KEEPTTL FIELDS 1 f v', 200, 1, [1])).toBe('EXPIRED_MEANWHILE');
  expect(told('HPEXPIRE k 1000 FIELDS 1 f', 'HSETEX k KEEPTTL FIELDS 1 g v', 200, 1, [1])).toBe(undefined);
  expect(told('HPEXPIRE k 1000 FIELDS 1 f', 'HSETEX k FIELDS 1 f v', 200, 1, [1])).toBe(undefined);
});

it('MSETEX … KEEPTTL leaves the end of its keys as it is', () => {
  const lifetimes = new Lifetimes();
  const answered = (line: string) => {
    const mirrored = now(line);
    vi.advanceTimersByTime(10);
    return lifetimes.answered([mirrored], mirrored.repliedMs, performance.now(), new UsualWay())?.error.code;
  };
  answered(`SET k v PXAT ${at()}`);
  vi.advanceTimersByTime(500);
  expect(answered('MSETEX 1 k w KEEPTTL')).toBe(undefined);
  vi.advanceTimersByTime(475);
  expect(answered('SETRANGE k 0 x')).toBe('EXPIRED_MEANWHILE');
});

it('tells of more keys than a call can have arguments whose time to live took long', () => {
  const keys = Array.from({ length: 200_000 }, (_, index) => `k${index}`);
  const mirrored = now(`MSETEX ${keys.length} ${keys.map((key) => `${key} v`).join(' ')} PX 1000`);
  vi.advanceTimersByTime(500);
  const failure = new Lifetimes().answered([mirrored], mirrored.repliedMs, performance.now(), new UsualWay());
  expect(failure).toMatchObject({ error: { code: 'EXPIRY_DRIFTED' }, keys: { length: keys.length } });
});
