/** Several writers of one service: whatever the order in which their writes reach the target. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Bed, settled, startBed } from './bed.js';
import { differing, repair } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

/** One whose way to the target is slow, and one that comes there at once. */
async function slowAndFast() {
  const slow = await bed.writer();
  const fast = await bed.writer({ target: bed.target });
  return { slow, fast };
}

function failures(): unknown[] {
  return bed.sink.records.map(({ key, command, outcome, error }) => [key, command, outcome, error?.code]);
}

describe('two writers, one after the other', () => {
  it('of which the second comes to the target first: a record of each key, and by the records all is equal', async () => {
    const { slow, fast } = await slowAndFast();
    bed.link.slow(50);
    for (let key = 0; key < 200; key++) {
      await slow.set(`k${key}`, 'old');
      await fast.set(`k${key}`, 'new');
    }
    await Promise.all([settled(slow), settled(fast)]);
    expect(await bed.target.client.get('k7')).toBe('old');
    expect(bed.sink.records).toHaveLength(200);
    expect(failures()[7]).toEqual(['k7', 'SET', 'unknown', 'CROSSED']);
    await repair(bed, bed.sink.records);
    expect(await differing(bed)).toEqual([]);
  });

  it('of which the first was answered by the target before the second began: no record', async () => {
    const first = await bed.writer();
    const second = await bed.writer({ target: bed.target });
    const keys = Array.from({ length: 50 }, (_, key) => `k${key}`);
    for (const key of keys) await first.set(key, 'old');
    await settled(first);
    // Longer than a write of the second takes, also on a busy machine.
    await sleep(3_000);
    for (const key of keys) await second.set(key, 'new');
    await settled(second);
    expect(failures()).toEqual([]);
    expect(await differing(bed)).toEqual([]);
  });
});
