import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RecentFailures } from '../../src/dual-write/records/recent-failures.js';

const key = (name: string | number) => [Buffer.from(String(name))];
let failures: RecentFailures;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  failures = new RecentFailures();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a key that missed a write', () => {
  it('is remembered for some seconds, then forgotten', () => {
    failures.add(key('k'), 5);
    expect([failures.hasAny(key('k')), failures.hasAny(key('other'))]).toEqual([true, false]);
    vi.advanceTimersByTime(9_000);
    expect(failures.hasAny(key('k'))).toBe(true);
    vi.advanceTimersByTime(20_000);
    expect(failures.hasAny(key('k'))).toBe(false);
    expect(failures.mayConcern(6)).toBe(false);
  });

  it('concerns the writes up to it, not those behind it nor those of other keys', () => {
    failures.add(key('k'), 5);
    failures.add(key('k'), 3);
    expect([4, 5, 6].map((number) => failures.hasAnyNewer(key('k'), number))).toEqual([true, true, false]);
    expect(failures.hasAnyNewer(key('other'), 4)).toBe(false);
  });

  it('concerns older writes, however late they land', () => {
    failures.add(key('k'), 5);
    vi.advanceTimersByTime(3_600_000);
    failures.add(key('other'), 9);
    expect(failures.mayConcern(4)).toBe(true);
    expect([4, 5, 6].map((number) => failures.hasAnyNewer(key('k'), number))).toEqual([true, true, false]);
  });

  it('concerns older writes even if many more keys than can be remembered failed since', () => {
    for (let number = 5; number < 200_005; number++) failures.add(key(number), number);
    expect(failures.hasAnyNewer(key(5), 4)).toBe(true);
    expect(failures.hasAnyNewer(key(5), 200_005)).toBe(false);
  });
});
