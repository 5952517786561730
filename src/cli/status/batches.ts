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
  readonly byLink: Readonly<Record<string, number>>;
  /** The first ones. */
  readonly batches: readonly BatchReport[];
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

const MOST_ASKED = 20;

/** @param client an Error where Temporal does not answer */
export async function batchesReport(client: Client | Error, config: Config): Promise<BatchesReport> {
  const of = { type: BATCH_TYPE, status, most: MOST_ASKED };
  const { running, byLink, answers, problem } = await underWay(client, config, of);
  const batches = answers.map(({ workflowId, link, state, keys, handedOver, outage, lastError, equal, repaired }) => {
    return { workflowId, link, state, keys, healed: equal + repaired, handedOver, outage, lastError };
  });
  return { running, byLink: Object.fromEntries(byLink), batches, problem };
}

/** Lines for a person; none where no batch is known to be under way. */
export function describeBatches({ running, byLink, batches, problem }: BatchesReport): string[] {
  const sum = (of: 'keys' | 'healed') => batches.reduce((total, batch) => total + batch[of], 0);
  const progress = `${sum('healed')} of ${counted(sum('keys'), 'key')} healed`;
  const some = batches.length === 0 ? '' : `, in ${batches.length} of them ${progress}`;
  const which = batches.length < running ? some : `, ${progress}`;
  const waiting = batches.filter(({ state }) => state === 'waiting').length;
  const links = Object.entries(byLink)
    .sort()
    .map(([link, count]) => `${count} of link ${link}`);
  const ofLinks = links.length > 0 ? ` (${links.join(', ')})` : '';
  return [
    ...(running === 0
      ? []
      : [
          `surge: ${counted(running, 'batch', 'batches')} under way${ofLinks}${which}${waiting > 0 ? `, ${waiting} wait` : ''}`,
        ]),
    ...(problem === null ? [] : [`what is known of batches is incomplete: ${problem}`]),
  ];
}
