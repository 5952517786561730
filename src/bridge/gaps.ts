/**
 * Tells of failed writes that are lost: a line in the log, and a workflow that stays until closed.
 */
import {
  GAP_TYPE,
  type Gap,
  type GapInput,
  gapWorkflowId,
  lost,
  type NoticedGap,
} from '../../workflows/gap-messages.js';
import { lineOf, Outage } from '../patience/outage.js';
import { type OutageReport, shareOutage } from '../patience/shared-outage.js';
import { untilTaken } from '../patience/until-taken.js';
import type { BridgeMetrics } from '../telemetry/bridge-metrics.js';
import type { Links } from './group.js';
import { ownTeller, type TellerOptions } from './runs/own-teller.js';

export interface Gaps {
  /**
   * Opens the gap. Resolves when Temporal has it, or when aborted.
   * @param ofLinks default: every link, for a log holds the records of all of them
   */
  open(gap: NoticedGap, signal: AbortSignal, ofLinks?: Iterable<string>): Promise<void>;
}

interface GapsOptions extends TellerOptions {
  readonly links: Links;
  readonly metrics: Pick<BridgeMetrics, 'gapOpened'>;
}

export function createGaps({ links, metrics, ...telling }: GapsOptions): Gaps {
  const { logger } = telling;
  const tellOwn = ownTeller(telling, GAP_TYPE);
  const share = shareOutage(new Outage(logger, 'Temporal does not take what is known to be lost'));
  const outages = new Map<string, OutageReport>();
  const outageOf = (link: string) => {
    const outage = outages.get(link) ?? share();
    outages.set(link, outage);
    return outage;
  };
  return {
    async open(noticed, signal, ofLinks = links.keys()) {
      logger.error(
        { gap: noticed.id, cause: noticed.cause, records: noticed.records },
        `${noticed.message}; \`keymend status\` shows it until it is acknowledged`,
      );
      metrics.gapOpened(noticed.cause);
      const gap: Gap = { ...noticed, noticedAt: new Date().toISOString() };
      const tell = (link: string) => {
        const args: [GapInput] = [{ link }];
        return tellOwn({ link, workflowId: gapWorkflowId(link), args, signal: lost, signalArgs: [[gap]] });
      };
      // Side by side: where another keymend has the ID of one, the others are not to wait for that.
      await Promise.all(
        [...ofLinks].map((link) => untilTaken(() => tell(link), { outage: outageOf(link), explain: lineOf, signal })),
      );
    },
  };
}
