import { describe, expect, it } from 'vitest';
import { failedAtOf, mayBeInFlight, settledAt } from '../../workflows/settle.js';

const NOW = Date.parse('2026-11-20T23:00:00.000Z');
const ago = (ms: number) => new Date(NOW - ms).toISOString();

describe('settle', () => {
  it('is not asked for by a write that was refused and does no harm when it is done twice', () => {
    expect(mayBeInFlight({ outcome: 'refused', idempotent: true })).toBe(false);
    expect(settledAt({ outcome: 'refused', idempotent: true, failedAt: ago(0) }, 1_000, NOW)).toBe(0);
  });

  it('is asked for by every other, also where nothing is known', () => {
    for (const write of [
      { outcome: 'unknown', idempotent: true },
      { outcome: 'refused', idempotent: false },
      {},
    ] as const) {
      expect(settledAt({ ...write, failedAt: ago(400) }, 1_000, NOW)).toBe(NOW + 600);
    }
  });

  it('counts from when the write was read of, for the clock that says when it failed may be behind', () => {
    expect(settledAt({ failedAt: ago(3_600_000), receivedAt: ago(300) }, 1_000, NOW)).toBe(NOW + 700);
    expect(settledAt({ failedAt: ago(100), receivedAt: ago(300) }, 1_000, NOW)).toBe(NOW + 700);
    expect(settledAt({ failedAt: ago(300), receivedAt: 'yesterday' }, 1_000, NOW)).toBe(NOW + 1_000);
    expect(settledAt({ failedAt: ago(300), receivedAt: ago(-60_000) }, 1_000, NOW)).toBe(NOW + 1_000);
  });

  it("counts how long ago that was by the same clock, for Temporal's may be ahead of it", () => {
    const behind = { failedAt: ago(0), receivedAt: ago(5_000), receivedAgoMs: 300 };
    expect(settledAt(behind, 1_000, NOW)).toBe(NOW + 700);
    expect(settledAt(behind, 1_000, NOW, NOW - 200)).toBe(NOW + 500);
    expect(settledAt({ ...behind, receivedAt: ago(100) }, 1_000, NOW)).toBe(NOW + 900);
    for (const receivedAgoMs of ['1', -1, Number.NaN, null] as unknown as number[]) {
      expect(settledAt({ ...behind, receivedAgoMs }, 1_000, NOW)).toBe(NOW - 4_000);
    }
  });

  it('never waits longer than it asks, although a clock runs ahead or the time is no time', () => {
    expect(settledAt({ failedAt: ago(-60_000) }, 1_000, NOW)).toBe(NOW + 1_000);
    expect(failedAtOf({ failedAt: 'yesterday' }, NOW)).toBe(NOW);
    expect(failedAtOf({}, NOW)).toBe(NOW);
  });
});
