/** How many workflows of ours are open, and for how long the oldest repair has been. */
import type { Connection, WorkflowClient } from '@temporalio/client';
import { BATCH_TYPE } from '../../workflows/batch-messages.js';
import { GAP_TYPE } from '../../workflows/gap-messages.js';
import { SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { OUTAGE_TYPE } from '../../workflows/outage-messages.js';
import { REDRIVE_TYPE } from '../../workflows/redrive-messages.js';
import { SWEEP_TYPE } from '../../workflows/sweep-messages.js';
import { refusalOf } from './error-text.js';
import { openRuns } from './quoted.js';
import { searchAttributes } from './search-attributes.js';

interface OpenWorkflows {
  readonly byType: Readonly<Record<string, number>>;
  /** Keys that wait for somebody; null: the search attribute is missing, or of another type. */
  readonly escalated: number | null;
  /** Of the oldest open run of a key that is not escalated, or of a batch; 0: there is none. */
  readonly oldestRepairMs: number;
}

/** While keys travel in batches, none of them may have a run of its own. */
const REPAIRS = [WORKFLOW_TYPE, BATCH_TYPE];
const TYPES = [WORKFLOW_TYPE, BATCH_TYPE, GAP_TYPE, OUTAGE_TYPE, SWEEP_TYPE, REDRIVE_TYPE];
const TIMEOUT_MS = 5_000;
/** The list comes newest first: no more than so many are gone through for the oldest. */
const FEW = 100;
const MOST_LOOKS = 16;
const FIRST_STEP_MS = 60_000;

/**
 * What is listed lags behind by about a second.
 * @throws what the client throws when Temporal does not answer
 */
export function openWorkflows(client: WorkflowClient, taskQueue: string): Promise<OpenWorkflows> {
  const keys = openRuns(WORKFLOW_TYPE, taskQueue);
  const { state } = SEARCH_ATTRIBUTES;
  return client.withDeadline(Date.now() + TIMEOUT_MS, async () => {
    const [escalated, ...counts] = await Promise.all([
      countEscalated(client, keys),
      ...TYPES.map((type) => count(client, openRuns(type, taskQueue))),
    ]);
    const byType = Object.fromEntries(TYPES.map((type, index) => [type, counts[index]!]));
    const repairs = openRuns(REPAIRS, taskQueue);
    const repairing = escalated === null ? repairs : `${repairs} AND ${state} IS NULL`;
    // The dearest of all: Temporal answers, whatever becomes of it.
    const oldestRepairMs = await oldestAgeMs(client, repairing).catch(() => Number.NaN);
    return { byType, escalated, oldestRepairMs };
  });
}

async function countEscalated(client: WorkflowClient, keys: string): Promise<number | null> {
  const { state } = SEARCH_ATTRIBUTES;
  const escalated = await count(client, `${keys} AND ${state} = "escalated"`).catch(unlessRefused);
  if (escalated !== 0) return escalated;
  // Of type Text it may be asked for, but no key is ever given it. Who may not list the types is
  // believed the count.
  const report = await searchAttributes(client.connection as Connection, client.options.namespace).catch(() => null);
  return report === null || report.usable.includes(state) ? 0 : null;
}

/** A namespace without the attribute refuses the question. Whatever else it is may be over soon. */
function unlessRefused(error: unknown): null {
  if (refusalOf(error) !== null) return null;
  throw error;
}

async function count(client: WorkflowClient, query: string): Promise<number> {
  return (await client.count(query)).count;
}

/** Of very many that began at once it is a little too small. */
async function oldestAgeMs(client: WorkflowClient, query: string): Promise<number> {
  const now = Date.now();
  let [atLeast, atMost] = [0, Number.POSITIVE_INFINITY];
  let ageMs = 0;
  for (let look = 0; look < MOST_LOOKS; look += 1) {
    const older = `${query} AND StartTime <= "${new Date(now - ageMs).toISOString()}"`;
    const found = await count(client, older);
    if (found > 0 && found <= FEW) {
      for await (const { startTime } of client.list({ query: older, pageSize: FEW }))
        atLeast = Math.max(atLeast, now - startTime.getTime());
      return atLeast;
    }
    if (found > 0) atLeast = ageMs;
    else if (ageMs === 0) return 0;
    else atMost = ageMs;
    ageMs = atMost === Number.POSITIVE_INFINITY ? Math.max(FIRST_STEP_MS, 4 * atLeast) : (atLeast + atMost) / 2;
  }
  return atLeast;
}
