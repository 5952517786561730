/** What `keymend status` says of servers of a target that do not answer. */
import type { Client } from '@temporalio/client';
import { OUTAGE_TYPE, type OutageStatus, status } from '../../../workflows/outage-messages.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { underWay } from './under-way.js';

interface OutageReport extends Pick<OutageStatus, 'since' | 'reason' | 'keysWaiting'> {
  readonly link: string;
  readonly shard: string;
  readonly workflowId: string;
}

export interface OutagesReport {
  readonly outages: readonly OutageReport[];
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

/** @param client an Error where Temporal does not answer */
export async function outagesReport(client: Client | Error, config: Config): Promise<OutagesReport> {
  const { answers, problem } = await underWay(client, config, { type: OUTAGE_TYPE, status });
  return { outages: answers.map(({ until: _until, ...outage }) => outage), problem };
}

/** Lines for a person; none where nothing is known to be out. */
export function describeOutages({ outages, problem }: OutagesReport): string[] {
  return [
    ...outages.map(
      ({ link, shard, since, reason, keysWaiting }) =>
        `${shard} of link ${link} has not answered since ${since} (${reason}): about ${counted(keysWaiting, 'key waits', 'keys wait')} for it`,
    ),
    ...(problem === null ? [] : [`what is known of servers that do not answer is incomplete: ${problem}`]),
  ];
}
