/** Hooks of the application's that are not as they should be. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { WriteTracing } from '../../src/dual-write/records/to-records.js';
import { type Bed, startBed } from './bed.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterAll(() => bed.stop());

const fails = () => {
  throw new Error('a sampler of the application');
};

it.each<[string, WriteTracing, number]>([
  ['throws', { sent: fails, recorded: fails }, 1],
  ['gives what is no text', { sent() {}, recorded: () => 7 as never }, 0],
])('tracing that %s costs neither a write nor its record', async (_how, tracing, warnings) => {
  await bed.reset();
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  await bed.source.client.mset('a', 'v', 'b', 'v', 'c', 'v');
  const writer = await bed.writer({ more: { tracing } });
  // The target has none of them, so that each becomes a record.
  expect(await writer.del('a')).toBe(1);
  expect(await writer.multi().del('b').del('c').exec()).toHaveLength(2);
  const records = await bed.sink.have(3);
  expect(records.map(({ key }) => key).sort()).toEqual(['a', 'b', 'c']);
  for (const record of records) expect(record).not.toHaveProperty('traceparent');
  expect(bed.lost).toEqual([]);
  expect(warned).toHaveBeenCalledTimes(warnings);
  if (warnings > 0) expect(warned).toHaveBeenCalledWith(expect.stringMatching(/throws.*a sampler/), 'KeymendWarning');
  warned.mockRestore();
});
