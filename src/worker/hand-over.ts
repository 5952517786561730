/** Keys of a batch that go on as workflows of their own. */
import type { WorkflowClient } from '@temporalio/client';
import type { Logger } from 'pino';
import type { WorkflowRun } from '../../activities/work.js';
import type { EscalateRequest } from '../../workflows/activities.js';
import type { FailedWrite, LastError } from '../../workflows/messages.js';
import { describeForeignRun } from '../bridge/runs/own-runs.js';
import { NONE_UNFINISHED } from '../bridge/runs/unfinished-runs.js';
import { createSignaller, type SignalEnd } from '../bridge/signaller.js';
import type { LinkConfig } from '../config.js';
import { keyBytes } from '../events/failed-write-codec.js';
import type { LinkAttribute } from '../temporal/link-attribute.js';

interface HandOverOptions {
  readonly client: WorkflowClient;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
  readonly links: readonly LinkConfig[];
  /** For a key that no workflow can be started for. */
  readonly deadLetter: (request: EscalateRequest, batch: WorkflowRun) => Promise<void>;
  readonly logger: Logger;
}

/**
 * As the bridge does it for a key.
 * @returns resolves when the key's workflow has it, or the dead letters; or when aborted
 */
export function createHandOver(
  options: HandOverOptions,
): (write: FailedWrite, batch: WorkflowRun, signal: AbortSignal) => Promise<void> {
  const { links, deadLetter, ...rest } = options;
  // Its batch has seen to runs that did not finish.
  const signaller = createSignaller({ ...rest, unfinished: NONE_UNFINISHED });
  const byName = new Map(links.map((link) => [link.name, link]));
  return async (write, batch, signal) => {
    const link = byName.get(write.link);
    // Given here only when no other worker was found that has it.
    if (link === undefined) return deadLetter(letterOf(write, 1, UNKNOWN_LINK), batch);
    const { key, encoding = 'utf8' } = write;
    const group = { kind: 'key', link, key: keyBytes({ key, encoding }), writes: [] } as const;
    const end = await signaller.signal(group, [write], signal);
    if (end.kind === 'refused' || end.kind === 'misled') await deadLetter(notTaken(write, end), batch);
  };
}

const UNKNOWN_LINK: LastError = {
  type: 'UnknownLink',
  message: 'the link of the key is not in the configuration of this worker; add it there, then redrive',
  stage: 'signal',
};

function letterOf(event: FailedWrite, attempts: number, error: LastError): EscalateRequest {
  const { firstFailedAt = event.failedAt, lastFailedAt = event.failedAt } = event.merged ?? {};
  return { event, error, attempts, firstFailedAt, lastFailedAt };
}

function notTaken(event: FailedWrite, end: SignalEnd & { kind: 'refused' | 'misled' }): EscalateRequest {
  if (end.kind === 'refused') {
    return letterOf(event, end.attempts, { type: 'TemporalRejected', message: end.message, stage: 'signal' });
  }
  const message = describeForeignRun(end.run, event.link);
  return letterOf(event, 1, { type: 'WorkflowIdTaken', message, stage: 'signal' });
}
