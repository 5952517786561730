/** A worker's word to the workflow `outage` of each server of a target that does not answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import {
  noticed,
  OUTAGE_TYPE,
  type OutageInput,
  type OutageReport,
  type OutageStatus,
  outageWorkflowId,
} from '../../workflows/outage-messages.js';
import { ownTeller, type TellerOptions } from '../bridge/runs/own-teller.js';
import { jittered, pauseAfter } from '../patience/pause.js';
import type { OutageListener, ShardOutage } from '../redis/index.js';

interface OutageNoticesOptions extends TellerOptions {
  /** Of the worker. */
  readonly identity: string;
  /** Whether outages of a link are told to its webhook; default: none is. */
  readonly isNotified?: (link: string) => boolean;
}

/** Between two words about how many keys wait: each costs the workflow some events. */
const PAUSES = { firstMs: 10_000, longestMs: 300_000 };

export class OutageNotices {
  readonly #options: OutageNoticesOptions;
  readonly #tellOwn: ReturnType<typeof ownTeller>;
  readonly #underWay = new Map<ShardOutage, AbortController>();

  constructor(options: OutageNoticesOptions) {
    this.#options = options;
    this.#tellOwn = ownTeller(options, OUTAGE_TYPE);
  }

  listenerOf(link: string): OutageListener {
    return {
      began: (outage, keysWaiting) => {
        const end = new AbortController();
        this.#underWay.set(outage, end);
        void this.#tell(link, outage, keysWaiting, end.signal);
      },
      ended: (outage) => {
        this.#underWay.get(outage)?.abort();
        this.#underWay.delete(outage);
      },
    };
  }

  close(): void {
    for (const end of this.#underWay.values()) end.abort();
    this.#underWay.clear();
  }

  /** Until it is over for this worker. What Temporal does not take it may take the next time. */
  async #tell(link: string, outage: ShardOutage, keysWaiting: () => number, signal: AbortSignal): Promise<void> {
    // At once by the first word alone: where others reach the server, each further one opens an
    // outage that is over within seconds, and nobody is to be paged for each of them.
    let notify: OutageReport['notify'] = this.#options.isNotified?.(link) ? 'now' : undefined;
    for (let word = 1; !signal.aborted; word++) {
      const report: OutageReport = { worker: this.#options.identity, keysWaiting: keysWaiting(), notify };
      try {
        // Also where nothing has changed: the workflow may have seen it answer for a moment, or
        // have been ended by hand.
        await this.#say(link, outage, report);
        if (notify === 'now') notify = 'when-long';
      } catch (error) {
        this.#options.logger.debug({ link, shard: outage.shard, error: String(error) }, 'outage not told of');
      }
      await sleep(jittered(pauseAfter(word, PAUSES)), undefined, { signal, ref: false }).catch(() => {});
    }
  }

  #say(link: string, { shard, since, reason }: ShardOutage, report: OutageReport): Promise<void> {
    const notify = report.notify === 'now' ? { notify: true } : {};
    const args: [OutageInput] = [{ link, shard, since: new Date(since).toISOString(), reason, ...notify }];
    return this.#tellOwn({
      link,
      workflowId: outageWorkflowId(link, shard),
      args,
      signal: noticed,
      signalArgs: [report],
    });
  }
}

/** One line at the beginning of an outage and one at its end, of whatever worker. */
export function logOutage(logger: Logger): (outage: OutageStatus) => void {
  return ({ link, shard, since, reason, until, isRemoved, keysWaiting }) => {
    const of = { link, shard, since };
    if (until === null) {
      logger.warn(of, `${shard} of link ${link} does not answer (${reason}): its keys wait, and none of them fails`);
    } else if (isRemoved) {
      logger.warn(
        { ...of, until, keysWaiting },
        `${shard} of link ${link} is not asked any more: no worker has that link in its configuration`,
      );
    } else {
      const seconds = Math.round((Date.parse(until) - Date.parse(since)) / 1_000);
      logger.info({ ...of, until, keysWaiting }, `${shard} of link ${link} answers again, after ${seconds} s`);
    }
  };
}
