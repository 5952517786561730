/**
 * One outage for all streams of a source: a Cluster that is away shall be said once, not for each
 * of them.
 */
import type { Outage } from './outage.js';

/** What is told of how reading goes. */
export type OutageReport = Pick<Outage, 'failed' | 'worked'>;

/** @returns a report for each stream. The outage is over when none of them fails any more. */
export function shareOutage(outage: OutageReport): () => OutageReport {
  const failing = new Set<OutageReport>();
  return () => {
    const report: OutageReport = {
      failed(reason) {
        failing.add(report);
        outage.failed(reason);
      },
      worked() {
        failing.delete(report);
        if (failing.size === 0) outage.worked();
      },
    };
    return report;
  };
}
