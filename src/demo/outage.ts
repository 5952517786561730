/** The second act: thousands of keys fail while the link is cut, and travel in batches. */
import pMap from 'p-map';
import { counted } from '../plural.js';
import { KEY_PREFIX } from './application.js';
import { untilConverged } from './converging.js';
import { showProgress } from './progress.js';
import { closedBatches, closedRepairs } from './repairs.js';
import { restored, type Stage } from './stage.js';
import { openWriter } from './writer.js';

/** Enough for a backlog, few enough for a demo. */
const OUTAGE_KEYS = 5_000;
const AT_ONCE = 200;
/** What the second act has shown. */
export interface OutageShown {
  /** How many differed when the link came back. */
  readonly keys: number;
  readonly failedWrites: number;
  /** Records that were taken by nobody. */
  readonly lost: number;
  readonly batches: number;
  readonly repairedInBatches: number;
  /** By workflows of their own. */
  readonly repairedAlone: number;
  readonly escalated: number;
  /** From when the link was back until both were equal. */
  readonly healedMs: number;
}

export async function throughOutage(stage: Stage): Promise<OutageShown> {
  const { client, timeline } = stage;
  timeline.act('an outage');
  const since = new Date();
  const written = await writeThroughOutage(stage);
  const { differences } = await restored(stage);
  const restoredAt = performance.now();
  const { repairs } = await untilConverged(stage, since);
  const healedMs = Math.round(performance.now() - restoredAt);
  const batches = await closedBatches(client, since);
  const alone = await closedRepairs(client, since);
  return {
    ...written,
    keys: differences.length,
    batches: batches.length,
    repairedInBatches: batches.reduce((sum, { repaired }) => sum + repaired, 0),
    repairedAlone: alone.filter(({ outcome }) => outcome === 'repaired').length,
    escalated: repairs.escalated,
    healedMs,
  };
}

/** Writes each key once. The link is cut when it begins, and still is when it ends. */
async function writeThroughOutage(stage: Stage): Promise<Pick<OutageShown, 'failedWrites' | 'lost'>> {
  const { link, timeline, report, signal } = stage;
  link.cut();
  timeline.link('cut');
  const writer = openWriter({ ...stage, failed: timeline.failed });
  const { redis } = writer;
  let written = 0;
  const line = showProgress(
    () => `outage     ${counted(written, 'key')} written, ${redis.stats().recorded} failed on the target`,
    report,
  );
  try {
    await pMap(
      Array.from({ length: OUTAGE_KEYS }, (_, index) => index),
      async (index) => {
        await redis.set(`${KEY_PREFIX}outage:${index}`, `written while the link was cut, ${index}`);
        written += 1;
      },
      { concurrency: AT_ONCE, signal },
    );
    const lost = await writer.close();
    return { failedWrites: redis.stats().recorded, lost };
  } catch (error) {
    await writer.close(1000);
    throw error;
  } finally {
    line.stop();
  }
}
