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

it('one that claims an entry which the stream no longer has leaves a record', async () => {
  const writer = await bed.writer();
  await writer.xadd('s', '1-1', 'f', 'v');
  await writer.xgroup('CREATE', 's', 'g', '0');
  await settled(writer);
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
