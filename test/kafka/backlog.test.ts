/** What an intake says of the records that wait, with real Kafka. */
import { expect, test } from 'vitest';
import { bridgeBed, failedWrite, until } from '../bridge/bridge-bed.js';
import { startIntake } from './intake-bed.js';

const HOUR_MS = 3_600_000;

test.each([
  ['no time', () => '-1'],
  ['seconds in place of milliseconds', () => String(Math.floor(Date.now() / 1_000))],
  ['a time that is to come', () => String(Date.now() + HOUR_MS)],
])('a record with %s says nothing of how old the backlog is', async (_what, timestamp) => {
  const bed = await bridgeBed();
  const record = (id: string, writtenAt: string) => ({
    key: 'k',
    value: JSON.stringify(failedWrite({ id, key: 'k' })),
    timestamp: writtenAt,
  });
  await bed.produce(record('odd', timestamp()), record('old', String(Date.now() - HOUR_MS)));
  const intake = await startIntake(bed);
  await until(() => expect(intake.handled).toEqual(['odd', 'old']));
  const { records, ageMs } = intake.backlogs[0]!;
  expect(records).toBe(2);
  expect(ageMs).toBeGreaterThanOrEqual(HOUR_MS);
  expect(ageMs).toBeLessThan(2 * HOUR_MS);
});
