/** Which dead letters the options of a verb mean: what is read wrongly is thrown away wrongly. */
import { describe, expect, it, vi } from 'vitest';
import { filterOf } from '../../src/cli/letter-filter.js';

const DAY_MS = 86_400_000;

describe('a time', () => {
  it('is ISO 8601, in UTC unless it names a zone', () => {
    const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const since = (text: string) => filterOf({ since: text }).since;
    expect(since('2026-11-20T23:00:00.5Z')).toBe('2026-11-20T23:00:00.500Z');
    expect(since('2026-11-20T23:00+01:00')).toBe('2026-11-20T22:00:00.000Z');
    expect(told).not.toHaveBeenCalled();
    expect(since('2026-11-20')).toBe('2026-11-20T00:00:00.000Z');
    expect(since('2026-11-20 23:00')).toBe('2026-11-20T23:00:00.000Z');
    expect(told).toHaveBeenLastCalledWith(
      '--since 2026-11-20 23:00 is read as 2026-11-20T23:00:00.000Z: it names no zone\n',
    );
    told.mockRestore();
  });

  it.each(['05/11', '10', '11-30', '2026', '2026-11-31', '2026-02-29', '2026-11-20T24:00', 'Nov 20, 2026', 'now'])(
    'is never guessed: %s',
    (text) => {
      for (const option of ['since', 'until'])
        expect(() => filterOf({ [option]: text })).toThrow(`--${option} ${text}: give a time of ISO 8601`);
    },
  );
});

describe('an age', () => {
  it('has a unit', () => {
    const before = Date.now();
    const until = Date.parse(filterOf({ olderThan: '30d' }).until!);
    expect(until).toBeGreaterThanOrEqual(before - 30 * DAY_MS);
    expect(until).toBeLessThanOrEqual(Date.now() - 30 * DAY_MS);
  });

  it.each(['30', '1M', '30 D', '-1h', 'h', '1.2.3h'])('is never guessed: %s', (text) => {
    expect(() => filterOf({ olderThan: text })).toThrow(`--older-than ${text}: give a time, for example 30m`);
    expect(() => filterOf({ newerThan: text })).toThrow(`--newer-than ${text}: give a time, for example 30m`);
  });
});

describe('a name', () => {
  it.each([
    [{ error: 'TargetReadonly' }, /^--error TargetReadonly: .*, did you mean "TargetReadOnly"\?/],
    [{ reason: 'invalid-jsn' }, /^--reason invalid-jsn: .*, did you mean "invalid-json"\?/],
    [{ reason: 'a b' }, /^--reason a b: there is no such reason of a letter/],
    [{ group: '1a2b3c' }, /^--group 1a2b3c: give the 8 digits/],
    [{ group: '1A2B3C4D' }, /^--group 1A2B3C4D: give the 8 digits/],
  ])('with a typing error is said so, for nothing has it: %o', (flags, line) => {
    expect(() => filterOf(flags)).toThrow(line);
  });

  it('of another version is taken', () => {
    const flags = { error: 'NeverHeardOf', reason: 'of-tomorrow', group: '1a2b3c4d', link: 'gone' };
    const { error, ...same } = flags;
    expect(filterOf(flags)).toEqual({ ...same, errorType: error });
  });
});
