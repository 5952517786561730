import { describe, expect, test } from 'vitest';
import { until } from './bridge-bed.js';
import { accepting, GROUP, STREAM, streamBed } from './stream-bed.js';

type Bed = Awaited<ReturnType<typeof streamBed>>;

/** As a DualWriter in transactional mode does. */
async function announce(bed: Bed, value: string, graceMs: number | string): Promise<string> {
  return (await bed.redis().xadd(STREAM, '*', 'key', 'k', 'value', value, 'intent', graceMs))!;
}

/** By the clock of the server. */
async function age(bed: Bed, id: string): Promise<number> {
  const [seconds, micros] = await bed.redis().time();
  return Number(seconds) * 1000 + Number(micros) / 1000 - Number(id.split('-')[0]);
}

describe('an intent in the outbox', () => {
  test('is left alone during its grace, while other entries are handed out, and taken up after it', async () => {
    const bed = await streamBed();
    const id = await announce(bed, 'intent', 2_000);
    const seen: string[] = [];
    const ages: number[] = [];
    bed.start(async (batch) => {
      if (batch.records.some(({ position }) => position.offset === id)) ages.push(await age(bed, id));
      await accepting(seen)(batch);
    });
    await bed.add('failed');
    await until(() => expect(seen).toEqual(['failed']));
    expect(await bed.left()).toEqual({ entries: 1, pending: 1 });
    await until(() => expect(seen).toEqual(['failed', 'intent']));
    expect(ages).toEqual([expect.any(Number)]);
    expect(ages[0]).toBeGreaterThanOrEqual(2_000);
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
  });

  test('that the application removes meanwhile is forgotten, without being handed out', async () => {
    const bed = await streamBed();
    const id = await announce(bed, 'intent', 1_000);
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    await bed.redis().xdel(STREAM, id);
    await bed.add('later');
    await until(async () => expect(await bed.left()).toEqual({ entries: 0, pending: 0 }));
    expect(seen).toEqual(['later']);
    expect(bed.warnings()).toEqual([]);
  });

  test('that is old when it is read is handed out at once, without the field among its headers', async () => {
    const bed = await streamBed();
    const id = await announce(bed, 'intent', 50);
    await until(async () => expect(await age(bed, id)).toBeGreaterThan(50));
    const headers: unknown[] = [];
    bed.start(async ({ records, accepted }) => {
      for (const record of records) {
        headers.push(record.headers);
        accepted(record);
      }
    });
    await until(() => expect(headers).toEqual([{}]));
  });

  test('whose grace is no number is taken up like any other entry', async () => {
    const bed = await streamBed();
    await announce(bed, 'odd', 'soon');
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['odd']));
  });

  test('is claimed when the reader that held it died, and left alone still if it is young', async () => {
    const bed = await streamBed();
    await announce(bed, 'old', 1_000);
    const young = await announce(bed, 'young', 600_000);
    await bed.readAsOneThatDies(2);
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['old']));
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    const [[pending, holder]] = (await bed.redis().xpending(STREAM, GROUP, '-', '+', 1)) as [[string, string]];
    expect(pending).toBe(young);
    expect(holder).not.toMatch(/^dead-/);
  });

  test('is left by a reader that stops in order to the next one, which knows its age', async () => {
    const bed = await streamBed();
    await announce(bed, 'intent', 3_000);
    const first = bed.start(accepting([]));
    await until(async () => expect(await bed.left()).toEqual({ entries: 1, pending: 1 }));
    await first.stop();
    const seen: string[] = [];
    bed.start(accepting(seen));
    await until(() => expect(seen).toEqual(['intent']));
  });
});
