/** The second act: thousands of keys fail while the link is cut, and travel in batches. */
import pMap from 'p-map';
import { counted } from '../plural.js';
import { KEY_PREFIX } from './application.js';
import { showProgress } from './progress.js';
import type { Stage } from './stage.js';
import { openWriter } from './writer.js';

/** Enough for a backlog, few enough for a demo. */
const OUTAGE_KEYS = 5_000;
const AT_ONCE = 200;
/** What the application has done in the second act. */
export interface OutageWritten {
  readonly keys: number;
  readonly failedWrites: number;
  /** Records that were taken by nobody. */
  readonly lost: number;
}

/** Writes each key once. The link is cut when it begins, and still is when it ends. */
export async function throughOutage(stage: Stage): Promise<OutageWritten> {
  const { link, timeline, report, signal } = stage;
  timeline.act(`an outage of ${OUTAGE_KEYS} keys`);
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
        await redis.set(`${KEY_PREFIX}outage:${index}`, `sent all the same, ${index}`);
        written += 1;
      },
      { concurrency: AT_ONCE, signal },
    );
    const lost = await writer.close();
    return { keys: written, failedWrites: redis.stats().recorded, lost };
  } catch (error) {
    await writer.close(1000);
    throw error;
  } finally {
    line.stop();
  }
}
