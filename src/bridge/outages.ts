/** Which links have a server that is out, as the workflows `outage` say. The list lags a little. */
import { WorkflowClient } from '@temporalio/client';
import { OUTAGE_TYPE, outageLinkOf } from '../../workflows/outage-messages.js';
import { lookOut } from '../patience/lookout.js';
import { openRuns } from '../temporal/quoted.js';
import type { SignalClient } from './runs/own-runs.js';

const LOOK_EVERY_MS = 3_000;
const LIST_TIMEOUT_MS = 10_000;
/** More than anybody has servers out at once; of each one link is enough to know. */
const MOST_LISTED = 1_000;

interface OutagesWatch {
  isOut(link: string): boolean;
  stop(): Promise<void>;
}

/** Looks now and then. While Temporal does not list them, what it said last holds. */
export function watchOutages(client: SignalClient, taskQueue: string): OutagesWatch {
  // A stand-in for a client has no list.
  if (!(client instanceof WorkflowClient)) return { isOut: () => false, async stop() {} };
  let out: ReadonlySet<string> = new Set();
  const list = async () => {
    const links = new Set<string>();
    const query = openRuns(OUTAGE_TYPE, taskQueue);
    let listed = 0;
    for await (const { workflowId } of client.list({ query })) {
      links.add(outageLinkOf(workflowId));
      if (++listed === MOST_LISTED) break;
    }
    out = links;
  };
  const lookout = lookOut(LOOK_EVERY_MS, () => client.withDeadline(Date.now() + LIST_TIMEOUT_MS, list).catch(() => {}));
  lookout.now();
  return { isOut: (link) => out.has(link), stop: lookout.stop };
}
