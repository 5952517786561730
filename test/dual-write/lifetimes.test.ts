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
function now(line: string): MirroredWrite {
  const [command = '', ...args] = line.split(' ');
  const found = classify(command, args);
  if (found.kind !== 'write') throw new Error(`${line} is ${found.kind}`);
  const reply = Buffer.from('1');
  const plan = planMirror(found.write, reply);
  if (plan.kind !== 'replay') throw new Error(`${line} is not replayed`);
  const nowMs = performance.now();
  return { write: found.write, replay: plan.replay, reply, sinceMs: nowMs, repliedMs: nowMs, heldMs: 0 };
}

/**
 * `first` is answered at once, but read after 500 ms; 100 ms before its key ends the other leaves,
 * for so long.
 */
function told(first: string, second: string, tookMs: number): unknown {
  const lifetimes = new Lifetimes();
  const way = new UsualWay();
  const answered = (mirrored: MirroredWrite, doneMs: number) =>
    lifetimes.answered([mirrored], mirrored.repliedMs, doneMs, way);
  const one = now(first);
  vi.advanceTimersByTime(500);
  answered(one, one.repliedMs);
  vi.advanceTimersByTime(400);
  const other = now(second);
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
