/** What the workflow `outage` asks for. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { OutageActivities, OutageStatus } from '../workflows/outage-messages.js';
import { isRemoved, stillUnknown, type Unknown } from './unknown-link.js';
import type { LinkRuntime } from './work.js';

interface OutageDependencies {
  readonly links: ReadonlyMap<string, Pick<LinkRuntime, 'sides'>>;
  /** Told of the beginning and the end of each outage, now and then twice. Must not throw. */
  readonly onOutage: (outage: OutageStatus) => void;
  /** Tells the webhook of the link, durably: resolves when its workflow knows. */
  readonly notify?: (outage: OutageStatus) => Promise<void>;
}

/** A server that comes up and goes again is asked twice, so far apart. */
const STEADY_MS = 2_000;

export function createOutageActivities({ links, onOutage, notify }: OutageDependencies): OutageActivities {
  return {
    async answers({ link, shard }) {
      const context = Context.current();
      const target = links.get(link)?.sides.target;
      if (target === undefined) {
        const unknown = stillUnknown();
        context.heartbeat(unknown);
        const message = `link "${link}" is not in the configuration of this worker`;
        throw ApplicationFailure.create({ type: 'UnknownLink', message, nonRetryable: isRemoved(unknown) });
      }
      if (context.info.heartbeatDetails !== undefined) context.heartbeat({} satisfies Unknown);
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
