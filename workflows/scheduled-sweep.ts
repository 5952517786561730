/**
 * The workflow `scheduledSweep`, which a schedule starts. Temporal puts the time behind the ID of
 * what a schedule starts, and a sweep has the ID of its link: so this one starts the sweep, or
 * leaves it at the one that is under way.
 */
import { proxyActivities } from '@temporalio/workflow';
import type { ScheduledSweepInput, ScheduledSweepResult, SweepActivities } from './sweep-messages.js';

const { startSweep } = proxyActivities<SweepActivities>({
  startToCloseTimeout: '30 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '1 minute' },
});

export async function scheduledSweep(input: ScheduledSweepInput): Promise<ScheduledSweepResult> {
  return startSweep(input);
}
