/** What the workflow `outage` asks for. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { OutageActivities, OutageStatus } from '../workflows/outage-messages.js';
import type { LinkRuntime } from './work.js';

interface OutageDependencies {
  readonly links: ReadonlyMap<string, Pick<LinkRuntime, 'sides'>>;
  /** Told of the beginning and the end of each outage, now and then twice. Must not throw. */
  readonly onOutage: (outage: OutageStatus) => void;
  /** Tells the webhook of the link, durably: resolves when its workflow knows. */
  readonly notify?: (outage: OutageStatus) => Promise<void>;
}

/** In a rolling deployment workers do not know a link for some minutes. Longer: it was removed. */
const REMOVED_AFTER_MS = 10 * 60_000;
/** Kept from attempt to attempt, whichever worker makes them. */
interface Asked {
  /** Since when no worker that was asked has known the link, in ms since the epoch. */
  readonly unknownSince?: number;
}

/** A server that comes up and goes again is asked twice, so far apart. */
const STEADY_MS = 2_000;

export function createOutageActivities({ links, onOutage, notify }: OutageDependencies): OutageActivities {
  return {
    async answers({ link, shard }) {
      const context = Context.current();
      const { unknownSince } = (context.info.heartbeatDetails ?? {}) as Asked;
      const target = links.get(link)?.sides.target;
      if (target === undefined) {
        const since = unknownSince ?? Date.now();
        context.heartbeat({ unknownSince: since } satisfies Asked);
        const message = `link "${link}" is not in the configuration of this worker`;
        const nonRetryable = Date.now() - since >= REMOVED_AFTER_MS;
        throw ApplicationFailure.create({ type: 'UnknownLink', message, nonRetryable });
      }
      if (unknownSince !== undefined) context.heartbeat({} satisfies Asked);
      for (const pause of [0, STEADY_MS]) {
        await context.sleep(pause);
        const failure = await target.answers(shard);
        if (failure !== null) throw ApplicationFailure.retryable(failure.message, 'TargetUnavailable');
      }
    },

    async announce(outage) {
      onOutage(outage);
    },

    async notifyOutage(outage) {
      await notify?.(outage);
    },
  };
}
