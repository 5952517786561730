/** What is kept of what a sweep finds, and what a sample says of all. */
import { expect, test } from 'vitest';
import { prefixOf } from '../../src/events/key-prefix.js';
import { atMost } from '../../src/sweep/bound.js';
import { parseReport, reportOf } from '../../src/sweep/report.js';
import { htmlReport } from '../../src/sweep/report-html.js';
import { summary } from '../../src/sweep/summary.js';
import { added, type Finding, NOTHING_FOUND, summed } from '../../src/sweep/tally.js';
import { joined, marked } from '../../src/sweep/timeline.js';
import type { SweepPart, SweepResult, Timeline } from '../../workflows/sweep-messages.js';

test.each([
  ['user:42', 'user:'],
  ['user:42:mail', 'user:'],
  ['shop/cart/8f3a', 'shop/cart/'],
  ['config:flags:main', 'config:flags:'],
  ['plain', ''],
  ['42', ''],
  ['user:{42}:mail', 'user:'],
  ['user:\u001b[31m:x', 'user:'],
])('%j begins with %j, up to what is most likely an ID', (key, prefix) => {
  expect(prefixOf(Buffer.from(key))).toBe(prefix);
});

const many200 = () => Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`${index}:`, { missing: 1 }]));

test('all that differ are counted, and so many are named that a history can hold them', () => {
  const missing = (key: string): Finding => ({ key: Buffer.from(key), difference: 'missing' });
  const many = Array.from({ length: 3_000 }, (_, index) => missing(`user:${index}`));
  const tally = added(NOTHING_FOUND, many, NOTHING_FOUND);
  expect(tally.differing.missing).toBe(3_000);
  expect(tally.listed).toHaveLength(1_000);
  expect(tally.prefixes).toEqual({ 'user:': { missing: 3_000 } });
  expect(added(NOTHING_FOUND, many, tally).listed).toEqual([]);
  expect(added(NOTHING_FOUND, [missing('other:1')], { ...NOTHING_FOUND, prefixes: many200() }).prefixes).toEqual({});
  const long = Array.from({ length: 1_000 }, (_, index) => missing(`${index}`.padEnd(1_000, 'x')));
  expect(JSON.stringify(added(NOTHING_FOUND, long, NOTHING_FOUND).listed).length).toBeLessThan(100_000);
});

test('of a thousand servers that all have findings, what travels with a sign of life stays small', () => {
  const place = '10.120.130.140:16379';
  const server = `${place} 0 ${'f'.repeat(40)} ${'f'.repeat(40)}`;
  const begun = { side: 'source', place, server, slots: '[[[10000,10015]]]', others: 'x'.repeat(28) } as const;
  const gone = { keys: 1e9, cursor: '123456789', done: true, passed: 1e9, own: 0, compared: 1e9 };
  const part = { ...begun, ...gone, soonestExpiry: 1_900_000_000_000 };
  const findings = (server: number) =>
    Array.from({ length: 100 }, (_, index): Finding => {
      const foundAtMs = 1_900_000_000_000 + 100_000 * index + server;
      const reason = `NoPermission: this user may not read ${index % 10} of ${server}`.padEnd(100, '.');
      return { key: Buffer.from(`user:${server}:${index}`), difference: 'missing', foundAtMs, reason };
    });
  const parts: SweepPart[] = [];
  let tally = NOTHING_FOUND;
  for (let server = 0; server < 1_000; server++) {
    parts.push({ ...part, tally: added(NOTHING_FOUND, findings(server), { ...tally, parts: 999 }) });
    tally = summed([{ ...part, tally }, parts.at(-1)!]);
  }
  expect(tally).toMatchObject({ differing: { missing: 100_000 }, failed: 100_000 });
  expect(tally.found.reduce((sum, { keys }) => sum + keys, 0)).toBe(100_000);
  expect(tally.reasons).toHaveLength(5);
  // Temporal takes 2 MiB.
  expect(JSON.stringify({ parts }).length).toBeLessThan(1_000_000);
});

test.each([
  // 3 in so many, where none was found; the others from a table of the Clopper-Pearson bound.
  [0, 300, 0.0099],
  [0, 3_000, 0.000_998],
  [5, 100, 0.1023],
  [1, 20, 0.2161],
  [10, 10, 1],
])('%i of %i: at most %d', (differing, sampled, bound) => {
  expect(atMost(differing, sampled)).toBeCloseTo(bound, 4);
});

test('what a sample could not compare may differ, and counts as if it did', () => {
  const tally = { ...NOTHING_FOUND, unsettled: 3, failed: 2 };
  const part = { side: 'source', place: '', server: '', slots: '', others: '', keys: 1_000, cursor: '0' } as const;
  const ofSample = { done: true, passed: 100, own: 0, compared: 100, soonestExpiry: null, tally };
  const state = { parts: [{ ...part, ...ofSample }], redone: 0, targetOnly: 'skipped' } as const;
  expect(summary(state, { sample: 0.1 }).atMost).toBeCloseTo(0.1023, 4);
});

test('a key that a sample has drawn twice differs twice, and none is left out of the list for it', () => {
  const drawn: Finding = { key: Buffer.from('user:1'), difference: 'missing' };
  const tally = added(NOTHING_FOUND, [drawn, drawn, { ...drawn, key: Buffer.from('user:2') }], NOTHING_FOUND, true);
  const part = { side: 'source', place: '', server: '', slots: '', others: '', keys: 1_000, cursor: '0' } as const;
  const ofSample = { done: true, passed: 100, own: 0, compared: 100, soonestExpiry: null, tally };
  const state = { parts: [{ ...part, ...ofSample }], redone: 0, targetOnly: 'skipped' } as const;
  const result = { ...RESULT, ...summary(state, { sample: 0.1 }) };
  expect(result.differing.missing).toBe(3);
  expect(parseReport(JSON.stringify(reportOf(result)), 'r.json')).toMatchObject({ unlisted: 0, uncompared: 0 });
});

test('what a report does not name is known by number: a rerun can not say "equal" of it', () => {
  const parsed = (news: Partial<SweepResult>) =>
    parseReport(JSON.stringify(reportOf({ ...RESULT, ...news })), 'r.json');
  const value = (count: number) => ({ ...NOTHING_FOUND.differing, value: count });
  expect(parsed({ differing: value(0), listed: [], unsettled: 30, failed: 10 })).toMatchObject({ uncompared: 40 });
  expect(parsed({ differing: value(5) })).toMatchObject({ unlisted: 4, uncompared: 0 });
  // Two that the guard of deletes has refused are among those that differ.
  const options = { repair: true } as const;
  expect(parsed({ options, differing: value(4), handedOver: 2, failed: 3 })).toMatchObject({ uncompared: 1 });
});

const RESULT: SweepResult = {
  ...NOTHING_FOUND,
  link: 'east-to-west',
  options: { match: '<b>*' },
  startedAt: '2026-11-20T23:00:00.000Z',
  finishedAt: '2026-11-20T23:00:10.000Z',
  outcome: 'divergent',
  compared: 3,
  differing: { ...NOTHING_FOUND.differing, value: 2 },
  handedOver: 2,
  repaired: 1,
  unhealed: 1,
  timeline: { found: [{ at: Date.UTC(2026, 10, 20, 23, 0, 5), keys: 2 }], healed: [] },
  prefixes: [{ prefix: '"/><i>:', keys: 2, differing: { value: 2 } }],
  targetOnly: 'counted',
  redone: 0,
  listed: [{ key: '"><script>alert(1)</script>', encoding: 'utf8', difference: 'value' }],
};

test('a page shows keys of any bytes, and does nothing with them', () => {
  const page = htmlReport(reportOf(RESULT), (text) => text);
  expect(page).not.toMatch(/<script|<b>|<i>/);
  expect(page).toContain('&#34;&#62;&#60;script&#62;');
  expect(page).toContain('&#34;/&#62;&#60;i&#62;:');
  expect(page).toContain('and 1 more');
});

test('a page needs nothing else, and has a picture by kind, by prefix and over time', () => {
  const [foundAt, healedAt] = ['2026-11-20T23:00:05.000Z', '2026-11-20T23:00:08.000Z'];
  const healed = [{ at: Date.parse(healedAt), keys: 2 }];
  const page = htmlReport(
    reportOf({
      ...RESULT,
      timeline: { ...RESULT.timeline, healed },
      listed: [{ key: 'user:1', encoding: 'utf8', difference: 'value', foundAt, batch: 0, repaired: true, healedAt }],
    }),
    (text) => text,
  );
  expect(page).not.toMatch(/(src|href|url)\s*[=(]|@import/);
  expect(page.match(/<svg/g)).toHaveLength(3);
  expect(page).toContain('other value: 2');
  // Half of the time had passed when both were found, and four fifths when both were healed.
  expect(page).toMatch(/d="M0 180H360V20H720"[^>]*><title>found: 2/);
  expect(page).toMatch(/d="M0 180H576V20H720"[^>]*><title>healed: 2/);
  expect(page).toContain(`found ${foundAt}`);
  expect(page).toContain(`healed ${healedAt}`);
  // Of nothing there is no picture over time.
  const equal = { ...RESULT, outcome: 'equal', prefixes: [], listed: [], differing: NOTHING_FOUND.differing } as const;
  const clean = htmlReport(reportOf({ ...equal, timeline: { found: [], healed: [] } }), (text) => text);
  expect(clean.match(/<svg/g)).toHaveLength(1);
});

test('a timeline stays short, forgets no key and keeps its order', () => {
  let timeline: Timeline = [];
  for (let second = 0; second < 1_000; second++) timeline = marked(timeline, (second * 7_919) % 1_000, 3);
  expect(timeline.length).toBeLessThanOrEqual(60);
  expect(timeline.reduce((sum, { keys }) => sum + keys, 0)).toBe(3_000);
  expect(timeline.toSorted((one, other) => one.at - other.at)).toEqual(timeline);
  expect(joined([timeline, timeline]).reduce((sum, { keys }) => sum + keys, 0)).toBe(6_000);
});
