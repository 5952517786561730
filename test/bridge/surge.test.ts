/** When keys travel in batches. */
import { pino } from 'pino';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Surge } from '../../src/bridge/batches/surge.js';
import { type LogLine, loggerInto } from './bridge-bed.js';

const CONFIG = { enter: 1_000, leave: 100, age: 60_000 };
const silent = pino({ level: 'silent' });
const surgeOf = (out: readonly string[] = []) =>
  new Surge({ config: CONFIG, isOut: (link) => out.includes(link), logger: silent });

describe('keys travel in batches', () => {
  it('from `enter` records on, and until fewer than `leave` wait', () => {
    const surge = surgeOf();
    const states = [999, 1_000, 500, 100, 99, 999].map((records) => {
      surge.noticed('t[0]', { records, ageMs: 0 });
      return surge.isFor('l', 10);
    });
    expect(states).toEqual([false, true, true, true, false, false]);
  });

  it('when all parts of the log have as many together', () => {
    const surge = surgeOf();
    for (const part of [0, 1, 2]) surge.noticed(`t[${part}]`, { records: 400, ageMs: 0 });
    expect(surge.isFor('l', 10)).toBe(true);
    for (const part of [0, 1, 2]) surge.noticed(`t[${part}]`, { records: 0, ageMs: 0 });
    expect(surge.isFor('l', 10)).toBe(false);
  });

  it('while the oldest record is older than `age`, but not for a few that were late', () => {
    const surge = surgeOf();
    surge.noticed('t[0]', { records: 3, ageMs: 3_600_000 });
    expect(surge.isFor('l', 10)).toBe(false);
    surge.noticed('t[0]', { records: 99, ageMs: 60_000 });
    expect(surge.isFor('l', 10)).toBe(true);
    surge.noticed('t[0]', { records: 99, ageMs: 59_999 });
    expect(surge.isFor('l', 10)).toBe(false);
  });

  it('of a link that has a server which is out, where many come together', () => {
    const surge = surgeOf(['out']);
    surge.noticed('t[0]', { records: 60, ageMs: 0 });
    expect([surge.isFor('out', 50), surge.isFor('out', 49), surge.isFor('well', 50)]).toEqual([true, false, false]);
  });

  it('but not where only a few of a link are in a part of the log', () => {
    const surge = surgeOf();
    surge.noticed('t[0]', { records: 1_000, ageMs: 0 });
    expect([surge.isFor('l', 9), surge.isFor('l', 10)]).toEqual([false, true]);
  });

  it('also while what is in hand waits for an outage, however long, and what was let go is another bridge’s soon', () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const surge = surgeOf();
    surge.taken('t[0]', { records: 5_000, ageMs: 0 });
    vi.advanceTimersByTime(600_000);
    expect(surge.backlog()).toEqual({ records: 5_000, ageMs: 600_000 });
    // Another part of the log has only a few.
    surge.taken('t[1]', { records: 50, ageMs: 0 });
    expect(surge.isFor('l', 10)).toBe(true);
    for (const part of ['t[0]', 't[1]']) surge.done(part);
    vi.advanceTimersByTime(29_000);
    expect(surge.backlog().records).toBe(5_050);
    vi.advanceTimersByTime(2_000);
    expect(surge.backlog().records).toBe(0);
  });

  it('no longer than what was let go counts, though nothing more is heard of it, and that is told', () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const lines: LogLine[] = [];
    const surge = new Surge({ config: CONFIG, isOut: () => false, logger: loggerInto(lines) });
    surge.taken('t[0]', { records: 20_000, ageMs: 0 });
    vi.advanceTimersByTime(600_000);
    expect(surge.isOn).toBe(true);
    surge.done('t[0]');
    vi.advanceTimersByTime(29_000);
    expect(surge.isOn).toBe(true);
    vi.advanceTimersByTime(2_000);
    expect(surge.isOn).toBe(false);
    expect(lines.at(-1)!.msg).toMatch(/^surge is over: 0 records wait/);
  });

  it('also while one of two batches of a part of the log is in hand, whichever ends first', () => {
    const surge = surgeOf();
    const first = { records: 500, ageMs: 0 };
    surge.taken('t[0]', first);
    surge.taken('t[0]', { records: 5_000, ageMs: 0 });
    surge.done('t[0]');
    // Nothing was behind the first one, when it came.
    surge.done('t[0]');
    surge.through('t[0]', first);
    expect(surge.backlog().records).toBe(5_000);
  });

  it('which is told when it begins and when it ends', () => {
    const lines: LogLine[] = [];
    const surge = new Surge({ config: CONFIG, isOut: () => false, logger: loggerInto(lines) });
    for (const records of [10, 1_000, 2_000, 50, 10]) surge.noticed('t[0]', { records, ageMs: 2_000 });
    expect(lines.map(({ msg }) => msg)).toEqual([
      'surge: 1000 records wait, the oldest for 2 s; keys travel in batches now',
      'surge is over: 50 records wait, the oldest for 2 s; each key has its own workflow again',
    ]);
  });
});
