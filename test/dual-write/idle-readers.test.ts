/** Readers of a stream that find nothing, and change what its group keeps nevertheless. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type Bed, settled, startBed } from './bed.js';
import { differing, expectEqualAfterRepair, repair } from './repair.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterEach(() => bed.reset());
afterAll(() => bed.stop());

it('one that polls leaves one record of its consumer, and another one when that may be gone', async () => {
  const writer = await bed.writer();
  const poll = async () => {
    expect(await writer.xreadgroup('GROUP', 'g', 'ann', 'STREAMS', 's', '>')).toBeNull();
    await settled(writer);
  };
  await writer.xgroup('CREATE', 's', 'g', '0', 'MKSTREAM');
  for (let i = 0; i < 3; i++) await poll();
  expect(bed.sink.records).toMatchObject([{ key: 's', command: 'XREADGROUP', error: { code: 'NOT_MIRRORED' } }]);
  await repair(bed, bed.sink.records);
  expect(await differing(bed)).toEqual([]);
  await writer.xgroup('DELCONSUMER', 's', 'g', 'ann');
  for (let i = 0; i < 2; i++) await poll();
  // A write so close behind a failed one may leave one of its own.
  expect(bed.sink.records.filter(({ command }) => command === 'XREADGROUP')).toHaveLength(2);
  await expectEqualAfterRepair(bed, bed.sink.records.slice(1));
});

it('one that claims an entry which the stream no longer has leaves a record', async () => {
  const writer = await bed.writer();
  await writer.xadd('s', '1-1', 'f', 'v');
  await writer.xgroup('CREATE', 's', 'g', '0');
  await writer.xreadgroup('GROUP', 'g', 'ann', 'STREAMS', 's', '>');
  await writer.xdel('s', '1-1');
  await settled(writer);
  await repair(bed, bed.sink.records);
  expect(await differing(bed)).toEqual([]);
  const before = bed.sink.records.length;
  expect(await writer.xclaim('s', 'g', 'bob', 0, '1-1')).toEqual([]);
  await settled(writer);
  await expectEqualAfterRepair(bed, bed.sink.records.slice(before));
});
