import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Breaker, type BreakerState } from '../../src/dual-write/target/breaker.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a breaker that was stopped', () => {
  it('neither opens nor probes when what was under way fails', async () => {
    const probe = vi.fn(async () => true);
    const changes: BreakerState[] = [];
    const breaker = new Breaker({ failures: 2 }, probe, (state) => changes.push(state));
    breaker.stop();
    for (let turn = 0; turn < 3; turn++) breaker.failed();
    await vi.advanceTimersByTimeAsync(60_000);
    expect({ state: breaker.state, changes, probes: probe.mock.calls.length }).toEqual({
      state: 'closed',
      changes: [],
      probes: 0,
    });
  });

  it('ends its probing, even that which is under way', async () => {
    let answer!: (answered: boolean) => void;
    const probe = vi.fn(() => new Promise<boolean>((resolve) => (answer = resolve)));
    const changes: BreakerState[] = [];
    const breaker = new Breaker({ failures: 1 }, probe, (state) => changes.push(state));
    breaker.failed();
    await vi.advanceTimersByTimeAsync(1000);
    breaker.stop();
    answer(false);
    breaker.failed();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(changes).toEqual(['open']);
    expect(probe).toHaveBeenCalledTimes(1);
  });
});
