/**
 * Failed writes from a Redis Stream: one consumer of a group, which hands out what
 * `entry-reader.ts` brings.
 */
import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import type { BatchHandler, Intake } from '../events/intake.js';
import type { Aside } from '../patience/aside.js';
import { backOff } from '../patience/back-off.js';
import { messageOf } from '../patience/outage.js';
import type { OutageReport } from '../patience/shared-outage.js';
import type { KeyServers } from '../redis/index.js';
import { ConsumerGroup, type DeliveredEntry } from './consumer-group.js';
import { consumerName } from './consumer-name.js';
import { createEntryReader } from './entry-reader.js';
import { handOut } from './hand-out.js';

interface StreamIntakeOptions {
  /** Where the stream is. Stay open when the intake has stopped. */
  readonly servers: KeyServers;
  /** The key of the stream. */
  readonly stream: string;
  readonly group: string;
  readonly handle: BatchHandler;
  /** For batches that do not get on; absent: what is behind one waits. */
  readonly aside: Aside | undefined;
  /** Resolves when it is told that the stream was deleted, or when that is given up. */
  readonly onDeleted: () => Promise<void>;
  /** The release, which its name in the group says. */
  readonly version?: string | undefined;
  readonly outage: OutageReport;
  readonly logger: Logger;
}

interface StreamIntake extends Intake {
  /** Starts to hand out batches. */
  start(): void;
}

export function createStreamIntake(options: StreamIntakeOptions): StreamIntake {
  const { servers, stream, group, handle, aside, version, onDeleted, outage, logger } = options;
  const consumer = consumerName(version);
  const warn = (line: string) => logger.warn(line);
  const consumerGroup = new ConsumerGroup({ servers, stream, group, consumer, warn });
  const stopping = new AbortController();
  const { signal } = stopping;
  // Each record of a batch may wait on it; Node warns past ten.
  setMaxListeners(0, signal);
  const reader = createEntryReader({ consumerGroup, group, onDeleted, logger, signal });
  const holder = { consumerGroup, stream, handle, outage, logger, signal };
  let running: Promise<void> | undefined;
  let end!: { resolve: () => void; reject: (error: unknown) => void };
  const finished = new Promise<void>((resolve, reject) => {
    end = { resolve, reject };
  });

  async function handOutOrPutAside(entries: readonly DeliveredEntry[]): Promise<void> {
    let accepted = 0;
    const onAccepted = () => {
      accepted += 1;
    };
    const handled = handOut(entries, { ...holder, onAccepted });
    if (aside === undefined) return handled;
    const told = () => handled.catch((error: unknown) => outage.failed(messageOf(error)));
    return aside.handledOrAside(handled, () => accepted, told);
  }

  async function run(): Promise<void> {
    for (let failed = 0; !signal.aborted; ) {
      try {
        const entries = await reader.next();
        outage.worked();
        failed = 0;
        if (entries.length > 0) await handOutOrPutAside(entries);
      } catch (error) {
        outage.failed(messageOf(error));
        await backOff(++failed, signal);
      }
    }
    await aside?.ended();
    // Whatever can't be said now shows by silence.
    if (reader.hasJoined) await consumerGroup.leave().catch(() => {});
  }

  return {
    finished,
    start() {
      running = run().then(end.resolve, end.reject);
    },
    async stop() {
      stopping.abort();
      await running;
      consumerGroup.close();
      end.resolve();
    },
  };
}
