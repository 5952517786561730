/**
 * Tells of failed writes that are lost: a line in the log, and a workflow that stays until closed.
 */
import type { Logger } from 'pino';
import {
  GAP_TYPE,
  type Gap,
  type GapInput,
  gapWorkflowId,
  lost,
  type NoticedGap,
} from '../../workflows/gap-messages.js';
import { Outage } from '../patience/outage.js';
import { untilTaken } from '../patience/until-taken.js';
import type { BridgeMetrics } from '../telemetry/bridge-metrics.js';
import type { LinkAttribute } from '../temporal/link-attribute.js';
import type { Links } from './group.js';
import type { SignalClient } from './runs/own-runs.js';

export interface Gaps {
  /**
   * Opens the gap. Resolves when Temporal has it, or when aborted.
   * @param ofLinks default: every link, for a log holds the records of all of them
   */
  open(gap: NoticedGap, signal: AbortSignal, ofLinks?: Iterable<string>): Promise<void>;
}

const SIGNAL_TIMEOUT_MS = 10_000;

interface GapsOptions {
  readonly client: SignalClient;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
  readonly links: Links;
  readonly metrics: Pick<BridgeMetrics, 'gapOpened'>;
  readonly logger: Logger;
}

export function createGaps({ client, taskQueue, attribute, links, metrics, logger }: GapsOptions): Gaps {
  const outage = new Outage(logger, 'Temporal does not take what is known to be lost');
  return {
    async open(noticed, signal, ofLinks = links.keys()) {
      logger.error(
        { gap: noticed.id, cause: noticed.cause, records: noticed.records },
        `${noticed.message}; \`keymend status\` shows it until it is acknowledged`,
      );
      metrics.gapOpened(noticed.cause);
      const gap: Gap = { ...noticed, noticedAt: new Date().toISOString() };
      const tell = async (link: string) => {
        const args: [GapInput] = [{ link }];
        await client.withDeadline(Date.now() + SIGNAL_TIMEOUT_MS, () =>
          attribute.starting(link, (attributes) =>
            client.signalWithStart(GAP_TYPE, {
              workflowId: gapWorkflowId(link),
              taskQueue,
              args,
              signal: lost,
              signalArgs: [[gap]],
              ...attributes,
            }),
          ),
        );
      };
      const explain = (error: unknown) => String((error as Error).message).split('\n')[0]!;
      for (const link of ofLinks) await untilTaken(() => tell(link), { outage, explain, signal });
    },
  };
}
