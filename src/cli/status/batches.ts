/** What `keymend status` says of keys that travel in batches. */
import type { Client } from '@temporalio/client';
import { BATCH_TYPE, type BatchStatus, status } from '../../../workflows/batch-messages.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { underWay } from './under-way.js';

interface BatchReport extends Pick<BatchStatus, 'link' | 'state' | 'keys' | 'handedOver' | 'outage' | 'lastError'> {
  readonly workflowId: string;
  readonly healed: number;
}

export interface BatchesReport {
  readonly running: number;
  /** The first ones. */
  readonly batches: readonly BatchReport[];
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

const MOST_ASKED = 20;

/** @param client an Error where Temporal does not answer */
export async function batchesReport(client: Client | Error, config: Config): Promise<BatchesReport> {
  const { running, answers, problem } = await underWay(client, config, { type: BATCH_TYPE, status, most: MOST_ASKED });
  const batches = answers.map(({ workflowId, link, state, keys, handedOver, outage, lastError, equal, repaired }) => {
    return { workflowId, link, state, keys, healed: equal + repaired, handedOver, outage, lastError };
  });
  return { running, batches, problem };
}

/** Lines for a person; none where no batch is known to be under way. */
export function describeBatches({ running, batches, problem }: BatchesReport): string[] {
  const sum = (of: 'keys' | 'healed') => batches.reduce((total, batch) => total + batch[of], 0);
  const progress = `${sum('healed')} of ${counted(sum('keys'), 'key')} healed`;
  const which = batches.length < running ? `, in ${batches.length} of them ${progress}` : `, ${progress}`;
  const waiting = batches.filter(({ state }) => state === 'waiting').length;
  return [
    ...(running === 0
      ? []
      : [`surge: ${counted(running, 'batch', 'batches')} under way${which}${waiting > 0 ? `, ${waiting} wait` : ''}`]),
    ...(problem === null ? [] : [`what is known of batches is incomplete: ${problem}`]),
  ];
}
