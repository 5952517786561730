import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FailedWrite, LinkPolicy } from '../../workflows/messages.js';
import {
  addFailedWrites,
  demand,
  isNothing,
  MEMBERS_LIMIT,
  NOTHING_PENDING,
  putBack,
  representative,
  takeRound,
} from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';

const NOW = Date.parse('2026-11-20T23:00:10.000Z');
const POLICY: LinkPolicy = {
  settleMs: 1_000,
  verify: 'auto',
  retry: { maximumAttempts: 8, initialIntervalMs: 500, backoffCoefficient: 2, maximumIntervalMs: 30_000 },
  escalation: { retryEveryMs: 900_000 },
};

function write(id: string, changes: Partial<FailedWrite> = {}): FailedWrite {
  return { specVersion: 1, id, link: 'l', key: 'k', failedAt: '2026-11-20T23:00:00.000Z', ...changes };
}

function add(pending: Pending, ...events: FailedWrite[]): Pending {
  return addFailedWrites(pending, events, POLICY, NOW);
}

function redriven(id: string, offset: string): FailedWrite {
  return write(id, { redrive: 1, record: { topic: 't', partition: 0, offset, timestamp: '0' } });
}

const member = (id: string, ...members: string[]) => write(id, { command: 'SADD', members });

describe('pending failed writes', () => {
  it('are counted once, however often their record is delivered', () => {
    const once = add(NOTHING_PENDING, write('1'), write('2'), write('1'));
    expect(once.count).toBe(2);
    expect(add(once, write('2'))).toEqual(once);
  });

  it('are new work when they are redriven, each time that they are published, but not when that is delivered twice', () => {
    const once = add(NOTHING_PENDING, write('1'));
    const again = add(once, redriven('1', '7'), redriven('1', '7'));
    expect(again.count).toBe(2);
    expect(add(again, redriven('1', '8')).count).toBe(3);
    expect(add(again, redriven('1', '7'), write('1'))).toEqual(again);
  });

  it('are known by the newest thousand ids, for redeliveries come soon or not at all', () => {
    const many = Array.from({ length: 1_001 }, (_, i) => write(`${i}`));
    const pending = add(NOTHING_PENDING, ...many);
    expect(pending.seen).toHaveLength(1_000);
    expect(add(pending, ...many.slice(1)).count).toBe(1_001);
  });

  it('are known again after the round that covered them', () => {
    const { rest } = takeRound(add(NOTHING_PENDING, write('1')));
    expect(isNothing(rest)).toBe(true);
    expect(isNothing(add(rest, write('1')))).toBe(true);
    expect(isNothing(add(rest, write('2')))).toBe(false);
  });

  it('of members are one scope with all the members, those of each encoding apart', () => {
    const pending = add(
      NOTHING_PENDING,
      member('1', 'a', 'b'),
      member('2', 'b', 'c'),
      write('3', { command: 'SREM', members: ['/w=='], encoding: 'base64' }),
    );
    expect(pending.hint).toEqual({
      whole: false,
      memberCommands: ['SADD', 'SREM'],
      otherCommands: [],
      members: { utf8: ['a', 'b', 'c'], base64: ['/w=='] },
    });
  });

  it('keep apart which commands named members, so that none is taken for narrower than it was', () => {
    const pending = add(NOTHING_PENDING, member('1', 'a'), write('2', { command: 'SADD' }));
    expect(pending.hint).toMatchObject({ memberCommands: ['SADD'], otherCommands: ['SADD'] });
    // An empty list names none.
    expect(add(NOTHING_PENDING, member('3')).hint).toMatchObject({ memberCommands: [], otherCommands: ['SADD'] });
  });

  it('become the whole key when one says nothing of its command, or when there are too many members', () => {
    expect(add(NOTHING_PENDING, member('1', 'a'), write('2')).hint.whole).toBe(true);
    const many = Array.from({ length: MEMBERS_LIMIT + 1 }, (_, i) => member(`${i}`, `m${i}`));
    expect(add(NOTHING_PENDING, ...many).hint.whole).toBe(true);
    expect(add(NOTHING_PENDING, ...many.slice(1)).hint.whole).toBe(false);
  });

  it('become the whole key when the names of their members are long, because payloads are bounded', () => {
    const long = (id: string) => member(id, id.repeat(40_000));
    expect(add(NOTHING_PENDING, long('1')).hint.whole).toBe(false);
    expect(add(NOTHING_PENDING, long('1'), long('2')).hint.whole).toBe(true);
  });

  it.each([
    ['what their key is', { id: 'by-hand' }],
    ['when they failed', write('by-hand', { failedAt: 'yesterday' })],
  ])('that do not say %s do not stand for the others', (_what, unsaid) => {
    const pending = addFailedWrites(add(NOTHING_PENDING, write('1')), [unsaid], POLICY, NOW);
    expect(pending.count).toBe(2);
    expect(representative(pending)).toMatchObject({ id: '1', key: 'k' });
  });

  it('wait for settle from the newest failure, and only those that may be in flight', () => {
    const refused = { outcome: 'refused', idempotent: true } as const;
    expect(add(NOTHING_PENDING, write('1', refused)).settledAt).toBe(0);
    const two = [write('1'), write('2', { failedAt: '2026-11-20T23:00:09.500Z' })];
    for (const writes of [two, two.toReversed()]) {
      expect(add(NOTHING_PENDING, ...writes, write('3', refused)).settledAt).toBe(
        Date.parse('2026-11-20T23:00:10.500Z'),
      );
    }
  });

  it.each([
    ['refused', true, false],
    ['refused', false, true],
    ['refused', undefined, true],
    ['unknown', true, true],
    [undefined, true, true],
  ] as const)('with the outcome %s, idempotent: %s, may be in flight: %s', (outcome, idempotent, inFlight) => {
    const one = write('1', { outcome, idempotent });
    const followed = { auto: inFlight, always: true, never: false };
    for (const verify of ['auto', 'always', 'never'] as const) {
      const pending = addFailedWrites(NOTHING_PENDING, [one], { ...POLICY, verify }, NOW);
      expect(pending.settledAt > 0).toBe(inFlight);
      expect(pending.verify).toBe(followed[verify]);
      // Once one asks for it, none of the others takes that back.
      const refused = write('2', { outcome: 'refused', idempotent: true });
      expect(addFailedWrites(pending, [refused], { ...POLICY, verify }, NOW).verify).toBe(followed[verify]);
    }
  });

  it('leave the wish to look at the key as it was, also when a round is put back', () => {
    const demanded = add(demand(NOTHING_PENDING), member('1', 'a'));
    expect(demanded).toMatchObject({ demanded: true, hint: { whole: true } });
    const { round, rest } = takeRound(demanded);
    expect(putBack(round, rest)).toMatchObject({ demanded: true, hint: { whole: true } });
  });

  it('of a producer whose clock is ahead or unreadable wait no longer than settle', () => {
    for (const failedAt of ['2036-01-01T00:00:00.000Z', 'yesterday']) {
      expect(add(NOTHING_PENDING, write('1', { failedAt })).settledAt).toBe(NOW + POLICY.settleMs);
    }
  });

  it('are represented by the newest, with the members of all', () => {
    const pending = add(NOTHING_PENDING, member('1', 'a'), member('2', 'b'));
    expect(representative(pending)).toMatchObject({ id: '2', command: 'SADD', members: ['a', 'b'] });
    const mixed = add(pending, write('3', { command: 'DEL' }));
    expect(representative(mixed)).toMatchObject({ id: '3' });
    expect(representative(mixed)).not.toHaveProperty('command');
    expect(representative(demand(NOTHING_PENDING))).toBeNull();
  });

  it('lose nothing by being taken and put back, whatever arrives in between', () => {
    const anyWrite = fc.record({
      id: fc.integer({ min: 0, max: 30 }).map(String),
      command: fc.constantFrom(undefined, 'SADD', 'HSET', 'DEL'),
      members: fc.option(fc.array(fc.constantFrom('a', 'b', 'c')), { nil: undefined }),
      outcome: fc.constantFrom('refused' as const, 'unknown' as const, undefined),
      idempotent: fc.constantFrom(true, false, undefined),
    });
    const writes = fc.array(anyWrite.map(({ id, ...changes }) => write(id, changes)));
    fc.assert(
      fc.property(writes, writes, (first, second) => {
        const together = add(add(NOTHING_PENDING, ...first), ...second);
        const { round, rest } = takeRound(add(NOTHING_PENDING, ...first));
        const back = putBack(round, add(rest, ...second));
        const sorted = ({ hint, newest: _newest, ...state }: Pending) => ({
          ...state,
          hint: {
            whole: hint.whole,
            memberCommands: [...hint.memberCommands].sort(),
            otherCommands: [...hint.otherCommands].sort(),
            members: [...hint.members.utf8].sort(),
          },
        });
        expect(sorted(back)).toEqual(sorted(together));
        expect(back.newest?.id).toEqual(together.newest?.id);
      }),
    );
  });

  it('that can not be read count as writes of the whole key', () => {
    const pending = addFailedWrites(NOTHING_PENDING, 'nonsense', POLICY, NOW);
    expect(pending).toMatchObject({ count: 1, hint: { whole: true }, verify: true });
  });
});
