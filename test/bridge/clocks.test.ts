/** A producer's clock may be wrong: what may still be in flight is waited for nevertheless. */
import { describe, expect, it } from 'vitest';
import { groupByKey, type KeyGroup } from '../../src/bridge/group.js';
import { signalWithStartOptions } from '../../src/bridge/key-signal.js';
import { mergeWrites } from '../../src/bridge/merge.js';
import { parseConfig } from '../../src/config.js';
import { addFailedWrites, NOTHING_PENDING } from '../../workflows/pending.js';

const SETTLE_MS = 2_000;
const { links } = parseConfig(
  `{ kafka: { brokers: ['h:1'] }, links: [{ name: l, source: { url: 'redis://a' }, target: { url: 'redis://b' }, settle: 2s }] }`,
  'the test',
  {},
);
const BY_NAME = new Map(links.map((link) => [link.name, link]));

/** @param clockMs how wrong the producer's clock is @param ageMs how long the log has the record */
function received({ clockMs = 0, ageMs = 0, outcome = 'unknown' }): KeyGroup {
  const loggedAt = Date.now() - ageMs;
  const failedAt = new Date(loggedAt + clockMs).toISOString();
  const value = JSON.stringify({ specVersion: 1, id: `${clockMs} ${ageMs}`, link: 'l', key: 'k', failedAt, outcome });
  const position = { topic: 't', partition: 0, offset: '1', timestamp: `${loggedAt}` };
  const [group] = groupByKey([{ key: Buffer.from('k'), value: Buffer.from(value), headers: {}, position }], BY_NAME);
  return group as KeyGroup;
}

function delayOf(group: KeyGroup): number {
  const events = group.writes.map(({ event }) => event);
  return Number(signalWithStartOptions(group, events, 'keymend', Date.now()).startDelay ?? 0);
}

describe('a write of unknown outcome', () => {
  it.each([
    ['minutes behind', -120_000],
    ['minutes ahead', 120_000],
  ])('of a producer whose clock is %s settles from when it was received', (_, clockMs) => {
    expect(delayOf(received({ clockMs }))).toBeGreaterThan(SETTLE_MS / 2);
  });

  it('that the log has had for long, by a clock that agrees with it, is settled', () => {
    expect(delayOf(received({ ageMs: 120_000 }))).toBe(0);
  });

  it('settles so too when it is made one with others', () => {
    const events = [received({ ageMs: 120_000 }), received({ clockMs: -120_000 })].map((each) => each.writes[0]!.event);
    const { settledAt } = addFailedWrites(
      NOTHING_PENDING,
      [mergeWrites(events)],
      { settleMs: SETTLE_MS, verify: 'auto' },
      Date.now(),
    );
    expect(settledAt).toBeGreaterThan(Date.now());
  });
});
