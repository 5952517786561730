/** What comes in is gathered in place: cheaply, bounded, and as one by one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median } from '../../bench/ratio.js';
import { mergeWrites } from '../../src/bridge/merge.js';
import type { FailedWrite, LinkPolicy } from '../../workflows/messages.js';
import { addFailedWrites, Incoming, MEMBERS_LIMIT, NOTHING_PENDING, representative } from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';
import type { ScopeHint } from '../../workflows/scope.js';
import { failedAtOf, mayBeInFlight, settledAt } from '../../workflows/settle.js';

const NOW = Date.parse('2026-11-20T23:00:10.000Z');
const RULES = { settleMs: 1_000, verify: 'auto' } as const satisfies Partial<LinkPolicy>;

function write(id: string, changes: Partial<FailedWrite> = {}): FailedWrite {
  return { specVersion: 1, id, link: 'l', key: 'k', failedAt: '2026-11-20T23:00:00.000Z', ...changes };
}

/** One failed write after the other, said plainly: slow, and easily seen to be right. */
function oneByOne(
  events: readonly FailedWrite[],
): Omit<Pending, 'newest' | 'demanded'> & { readonly newest: string | null } {
  const ids = [...new Map(events.map((event) => [idOf(event), event]))];
  const all = ids.map(([, event]) => event);
  const members = (encoding: 'utf8' | 'base64') => [
    ...new Set(all.flatMap((event) => ((event.encoding ?? 'utf8') === encoding ? (event.members ?? []) : []))),
  ];
  const commands = (withMembers: boolean) => [
    ...new Set(all.flatMap((event) => ((event.members?.length ?? 0) > 0 === withMembers ? (event.command ?? []) : []))),
  ];
  const whole = all.some(({ command }) => command === undefined);
  const times = all.map((event) => failedAtOf(event, NOW));
  const hint = {
    memberCommands: commands(true),
    otherCommands: commands(false),
    members: { utf8: members('utf8'), base64: members('base64') },
  };
  return {
    seen: ids.map(([id]) => id),
    count: all.length,
    hint: whole
      ? { whole, memberCommands: [], otherCommands: [], members: { utf8: [], base64: [] } }
      : { whole, ...hint },
    newest: all.at(-1)?.id ?? null,
    firstFailedAt: all.length === 0 ? null : Math.min(...times),
    lastFailedAt: all.length === 0 ? null : Math.max(...times),
    settledAt: Math.max(0, ...all.map((event) => settledAt(event, RULES.settleMs, NOW))),
    verify: all.some(mayBeInFlight),
  };
}

function idOf({ id, redrive, record }: FailedWrite): string {
  return redrive === undefined ? id : `${id} of ${record!.topic}[${record!.partition}] ${record!.offset}`;
}

function comparable(pending: Pending): ReturnType<typeof oneByOne> {
  const { newest, demanded: _demanded, ...rest } = pending;
  return { ...rest, hint: sorted(rest.hint), newest: newest?.id ?? null };
}

function sorted({ whole, memberCommands, otherCommands, members }: ScopeHint): ScopeHint {
  return {
    whole,
    memberCommands: memberCommands.toSorted(),
    otherCommands: otherCommands.toSorted(),
    members: { utf8: members.utf8.toSorted(), base64: members.base64.toSorted() },
  };
}

const anyWrite = fc
  .record({
    command: fc.oneof({ weight: 9, arbitrary: fc.constantFrom('SADD', 'HSET', 'DEL') }, fc.constant(undefined)),
    members: fc.option(fc.array(fc.constantFrom('YQ==', 'Yg==', 'c'), { maxLength: 2 }), { nil: undefined }),
    encoding: fc.constantFrom('utf8' as const, 'base64' as const, undefined),
    outcome: fc.constantFrom('refused' as const, 'unknown' as const, undefined),
    idempotent: fc.constantFrom(true, true, false, undefined),
    failedAt: fc.integer({ min: -20, max: 20 }).map((seconds) => new Date(NOW + seconds * 500).toISOString()),
    redrive: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.constantFrom(1, 2)),
  })
  .map((changes): Partial<FailedWrite> => changes);
/** As in a log: each has an id of its own. */
const log = fc
  .array(anyWrite, { maxLength: 40 })
  .map((writes) =>
    writes.map((changes, index) =>
      write(`w${index}`, { ...changes, record: { topic: 't', partition: 0, offset: `${index}`, timestamp: '0' } }),
    ),
  );

/** The log in batches of these sizes, the last one as large as it has to be. */
function inBatches(events: readonly FailedWrite[], sizes: readonly number[]): FailedWrite[][] {
  const batches: FailedWrite[][] = [];
  let from = 0;
  for (const size of [...sizes, events.length]) {
    if (from < events.length) batches.push(events.slice(from, from + size));
    from += size;
  }
  return batches;
}

const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 12 });

function gather(signals: readonly (readonly FailedWrite[])[]): Pending {
  const incoming = new Incoming(NOTHING_PENDING);
  for (const events of signals) incoming.add(events, RULES, NOW);
  return incoming.pending();
}

describe('failed writes that come in', () => {
  it('are the same in whatever signals they come, one by one or of a batch made one', () => {
    fc.assert(
      fc.property(log, sizes, (events, cut) => {
        const plain = oneByOne(events);
        const expected = { ...plain, hint: sorted(plain.hint) };
        const batches = inBatches(events, cut);
        expect(comparable(gather(batches))).toEqual(expected);
        expect(comparable(gather(batches.map((batch) => [mergeWrites(batch)])))).toEqual(expected);
        expect(
          comparable(events.reduce((pending, event) => addFailedWrites(pending, [event], RULES, NOW), NOTHING_PENDING)),
        ).toEqual(expected);
      }),
    );
  });

  it('are known when they are delivered again, however the batches are cut then', () => {
    fc.assert(
      fc.property(log, sizes, sizes, fc.nat(40), (events, cut, otherCut, delivered) => {
        const merged = (batch: FailedWrite[]) => [mergeWrites(batch)];
        const before = gather(inBatches(events.slice(0, delivered), cut).map(merged));
        const again = inBatches(events, otherCut).map(merged);
        const after = again.reduce((pending, signal) => addFailedWrites(pending, signal, RULES, NOW), before);
        const expected = oneByOne(events);
        expect([after.count, after.seen]).toEqual([expected.count, expected.seen]);
        // What they are looked at for is never less than each alone asks for.
        expect(after.verify).toBe(expected.verify);
        expect(after.settledAt).toBe(expected.settledAt);
        if (!expected.hint.whole) expect(sorted(after.hint)).toEqual(sorted(expected.hint));
        expect(after.hint.whole).toBe(expected.hint.whole);
      }),
    );
  });

  it('are known by the last of them when one stands for more than are remembered', () => {
    const events = Array.from({ length: 5_000 }, (_, index) => write(`w${index}`));
    const once = gather([[mergeWrites(events)]]);
    expect(once).toMatchObject({ count: 5_000, hint: { whole: true } });
    expect(addFailedWrites(once, [mergeWrites(events)], RULES, NOW)).toEqual(once);
  });

  it('drive no id out that the same event names behind it', () => {
    const events = Array.from({ length: 1_500 }, (_, index) => write(`w${index}`));
    const once = gather([[mergeWrites(events.slice(500))]]);
    expect(addFailedWrites(once, [mergeWrites(events.slice(0, 1_000))], RULES, NOW).count).toBe(1_500);
  });

  it.each([
    ['no object', 7],
    ['null', null],
    ['without ids', { count: 3, ids: [] }],
    ['with ids that are no texts', { count: 3, ids: [1, {}] }],
    ['with a hint that can not be read', { count: 1, ids: ['a'], hint: { whole: false, members: 3 } }],
  ])('that say of themselves to be several, %s, count as one of the whole key', (_what, merged) => {
    const event = write('a', { command: 'SADD', members: ['m'], merged: merged as never });
    expect(gather([[event]])).toMatchObject({ count: 1, hint: { whole: true } });
  });
});

describe('what is carried on', () => {
  const full = () => {
    const long = (index: number) => `${index}`.padStart(256, '\u0001');
    return Array.from({ length: 3_000 }, (_, index) =>
      write(long(index), {
        command: `C${index % 60}`,
        members: index % 2 === 0 ? [`${index % 40}`.padStart(250, '\u20ac')] : [],
        error: { code: 'E'.repeat(100_000), message: '\u0001'.repeat(100_000) },
        origin: '\u0001'.repeat(100_000),
      }),
    );
  };

  it('is bounded in bytes, whatever came in', () => {
    const pending = gather(full().map((event) => [event]));
    expect(pending.hint.whole).toBe(false);
    expect(pending.count).toBe(3_000);
    expect(Buffer.byteLength(JSON.stringify(pending))).toBeLessThan(192 * 1024);
    const merged = mergeWrites(full());
    expect(Buffer.byteLength(JSON.stringify(merged))).toBeLessThan(192 * 1024);
  });

  it('was left by an earlier version without bounds, and gets them', () => {
    const unbounded: Pending = {
      ...NOTHING_PENDING,
      count: 2_000,
      seen: Array.from({ length: 1_000 }, (_, index) => `${index}`.padStart(1_000, 'x')),
      hint: {
        whole: false,
        memberCommands: [],
        otherCommands: Array.from({ length: 9_000 }, (_, i) => `C${i}`),
        members: { utf8: [], base64: [] },
      },
      newest: write('n', { members: ['m'.repeat(300_000)], command: 'SADD' }),
    };
    const pending = new Incoming(unbounded).pending();
    expect(Buffer.byteLength(JSON.stringify(pending))).toBeLessThan(96 * 1024);
    expect(pending).toMatchObject({ count: 2_000, hint: { whole: true } });
    expect(pending.seen.at(-1)).toBe(unbounded.seen.at(-1));
  });

  it('keeps the ids that came last, as many as there is room for', () => {
    const ids = Array.from({ length: 1_000 }, (_, index) => `${index}`.padStart(256, 'x'));
    const { seen } = gather([ids.map((id) => write(id))]);
    expect(seen.length).toBeGreaterThan(200);
    expect(seen).toEqual(ids.slice(-seen.length));
    const endless = 'x'.repeat(100_000);
    expect(gather([[write('1'), write(endless), write('2')]]).seen).toEqual(['1', '2']);
  });

  it('is the whole key when a command is none, there are too many of them, or a member is no text', () => {
    const commands = (count: number) =>
      Array.from({ length: count }, (_, index) => write(`${index}`, { command: `C${index}` }));
    expect(gather([commands(64)]).hint.whole).toBe(false);
    expect(gather([commands(65)]).hint.whole).toBe(true);
    expect(gather([[write('1', { command: 'C'.repeat(65) })]]).hint.whole).toBe(true);
    expect(gather([[write('1', { command: 7 as never })]]).hint.whole).toBe(true);
    expect(gather([[write('1', { command: 'SADD', members: [7 as never] })]]).hint.whole).toBe(true);
  });

  it('counts members in bytes of what is sent', () => {
    const member = (length: number, character: string) => [
      write(character, { command: 'SADD', members: [character.repeat(length)] }),
    ];
    for (const [character, bytes] of [
      ['a', 1],
      ['"', 2],
      ['\n', 2],
      ['\u0001', 6],
      ['\u00e9', 2],
      ['\u20ac', 3],
      ['\ud83d\ude00', 4],
      ['\ud800', 6],
    ] as const) {
      expect(Buffer.byteLength(JSON.stringify(character)) - 2).toBe(bytes);
      const most = Math.floor((64 * 1024 - 3) / bytes);
      expect(gather([member(most, character)]).hint.whole).toBe(false);
      expect(gather([member(most + 1, character)]).hint.whole).toBe(true);
    }
  });
});

describe('a merged failed write', () => {
  it('says to a worker that does not know it what covers all of them', () => {
    const old = ({ merged: _merged, ...event }: FailedWrite) => event;
    fc.assert(
      fc.property(
        log.filter(({ length }) => length > 0),
        (events) => {
          const event = old(mergeWrites(events));
          const seen = addFailedWrites(NOTHING_PENDING, [event], RULES, NOW);
          const expected = oneByOne(events);
          expect(seen.verify).toBe(expected.verify);
          expect(seen.settledAt).toBe(expected.settledAt);
          if (!seen.hint.whole) expect(sorted(seen.hint)).toEqual(sorted(expected.hint));
        },
      ),
    );
  });

  it('keeps the members of several commands, so that a large hash is not looked at as a whole', () => {
    const event = mergeWrites([
      write('1', { command: 'HSET', members: ['a'] }),
      write('2', { command: 'HDEL', members: ['b'] }),
    ]);
    expect(event).not.toHaveProperty('command');
    expect(gather([[event]]).hint).toMatchObject({
      whole: false,
      memberCommands: ['HSET', 'HDEL'],
      members: { utf8: ['a', 'b'] },
    });
    expect(representative(gather([[event]]))).not.toHaveProperty('merged');
  });

  it('alone is the failed write itself', () => {
    const alone = write('1', { command: 'SADD', members: ['a'] });
    expect(mergeWrites([alone])).toBe(alone);
  });
});

/** The CPU of the one in that of the other, both in turns. */
function costRatio(one: () => void, other: () => void): number {
  const timed = (work: () => void) => {
    const begun = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(begun);
    return user + system;
  };
  const ratios = Array.from({ length: 9 }, () => timed(one) / timed(other));
  return median(ratios);
}

describe('the cost of a failed write', () => {
  const COUNT = 20_000;
  const events = Array.from({ length: COUNT }, (_, index) =>
    write(`01JD2Y4Q9Z8V7W6X5T4R3S${index}`.padEnd(26, 'X'), {
      command: 'HSET',
      members: [`field:${index % MEMBERS_LIMIT}`],
    }),
  );
  const text = JSON.stringify(events);
  const known = gather([events]);
  const alone = Array.from(events, (event) => [event]);

  it('is about that of reading its JSON, whatever is known and pending already', () => {
    const ratio = costRatio(
      () =>
        new Incoming(known).add(
          events.map((event) => ({ ...event, id: `again ${event.id}` })),
          RULES,
          NOW,
        ),
      () => JSON.parse(text),
    );
    expect(ratio).toBeLessThan(8);
  });

  it('is the same in a signal of its own', () => {
    const ratio = costRatio(
      () => gather(alone),
      () => gather([events]),
    );
    expect(ratio).toBeLessThan(4);
  });
});
