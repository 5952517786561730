/** Differences of a sweep as batches: the same workflows as those of a backlog. */
import { createHash } from 'node:crypto';
import type { WorkflowClient } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { Logger } from 'pino';
import type { SweepRun } from '../../activities/sweep.js';
import type { WorkflowRun } from '../../activities/work.js';
import type { FailedWrite, RecordPosition } from '../../workflows/messages.js';
import type { reconcileBatch } from '../../workflows/reconcile-batch.js';
import { createBatches } from '../bridge/batches/batches.js';
import type { KeyGroup } from '../bridge/group.js';
import { NONE_UNFINISHED } from '../bridge/runs/unfinished-runs.js';
import type { LinkConfig } from '../config.js';
import { encodeKey } from '../events/failed-write-codec.js';
import type { Batches } from '../sweep/hand-over.js';
import type { SureDifference } from '../sweep/suspects.js';
import { errorText } from '../temporal/error-text.js';
import type { LinkAttribute } from '../temporal/link-attribute.js';

interface SweepBatchesOptions {
  readonly client: WorkflowClient;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
  readonly links: readonly LinkConfig[];
  /** For what Temporal refuses in a batch. */
  readonly handOver: (write: FailedWrite, sweep: WorkflowRun, signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
}

const CALL_TIMEOUT_MS = 10_000;
/** Stands for keys that each have a workflow of their own. */
const ALONE = 'alone';
/** The sweep bounds how many are open, and knows them. */
const UNBOUNDED = { withRoom: <T>(_: AbortSignal, opening: () => Promise<T>) => opening(), opened: () => {} };
/** It looks at whole keys, whatever was to be done before. */
const NOTHING_BEFORE = { unfinished: NONE_UNFINISHED, tell: async () => {} };

/**
 * As if the differences were failed writes in a log: it has the sweep's name, and the position of a
 * key is how many were handed over before. So the batch of keys that are found again behind a crash
 * is there already.
 */
export function createSweepBatches(options: SweepBatchesOptions): (sweep: SweepRun) => Batches {
  const { client, taskQueue, attribute, logger, handOver } = options;
  const links = new Map(options.links.map((link) => [link.name, link]));
  const batches = createBatches({ client, taskQueue, attribute, logger, open: UNBOUNDED, ...NOTHING_BEFORE });
  return ({ link, sweepId, workflow }) => ({
    async start(found, first, signal) {
      const groups = groupsOf(found, links.get(link)!, { sweepId, first });
      const writes = groups.flatMap((group) => group.writes);
      let id = ALONE;
      const onTaken = (workflowId: string) => {
        id = workflowId;
      };
      const order = { link: links.get(link)!, groups, writes, isContiguous: false, onTaken };
      const refused = await batches.start(order, signal);
      for (const group of refused) {
        for (const { event } of group.writes) await handOver(event, workflow, signal);
      }
      signal.throwIfAborted();
      return id;
    },

    async ended(batch) {
      if (batch === ALONE) return { healed: 0, wentOn: [], atMs: Date.now() };
      return client
        .withDeadline(Date.now() + CALL_TIMEOUT_MS, () => endOf(client, batch))
        .catch((error: unknown) => {
          throw new Error(errorText(error), { cause: error });
        });
    },
  });
}

async function endOf(client: WorkflowClient, batch: string) {
  const handle = client.getHandle<typeof reconcileBatch>(batch);
  try {
    const { status, closeTime, runId } = await handle.describe();
    if (status.name === 'RUNNING') return null;
    const atMs = closeTime?.getTime() ?? Date.now();
    if (status.name !== 'COMPLETED') return { healed: 0, wentOn: [], atMs };
    const { equal, repaired, wentOn = [] } = await client.getHandle<typeof reconcileBatch>(batch, runId).result();
    return { healed: equal + repaired, wentOn, atMs };
  } catch (error) {
    // Temporal has deleted it.
    if (error instanceof WorkflowNotFoundError) return { healed: 0, wentOn: [], atMs: Date.now() };
    throw error;
  }
}

function groupsOf(
  found: readonly SureDifference[],
  link: LinkConfig,
  { sweepId, first }: { readonly sweepId: string; readonly first: number },
): KeyGroup[] {
  const now = Date.now();
  return found.map(({ key, difference }, index): KeyGroup => {
    const place = first + index;
    const position: RecordPosition = {
      topic: `sweep-${sweepId}`,
      partition: 0,
      offset: `${place}`,
      timestamp: `${now}`,
    };
    const event: FailedWrite = {
      specVersion: 1,
      // Of other keys at the same position it is another one.
      id: `${sweepId}-${place}-${createHash('sha256').update(key).digest('hex').slice(0, 16)}`,
      link: link.name,
      ...encodeKey(key),
      // Nothing of it is in flight any more: the sweep has waited for that.
      outcome: 'refused',
      idempotent: true,
      failedAt: new Date(now).toISOString(),
      error: { code: 'SWEEP', message: `found by a sweep: ${difference}` },
      origin: 'keymend sweep',
      record: position,
    };
    return { kind: 'key', link, key, writes: [{ event, record: { key, value: null, headers: {}, position } }] };
  });
}
