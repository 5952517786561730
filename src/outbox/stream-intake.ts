/** Failed writes from a Redis Stream: reads as one consumer of a group, keeps what it works on, claims what others left. */
import { setMaxListeners } from 'node:events';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ulid } from 'ulid';
import type { BatchHandler, Intake, IntakeRecord } from '../events/intake.js';
import { backOff } from '../patience/back-off.js';
import type { OutageReport } from '../patience/shared-outage.js';
import { untilTaken } from '../patience/until-taken.js';
import type { KeyServers } from '../redis/index.js';
import { ConsumerGroup, type DeliveredEntry } from './consumer-group.js';
import { entryRecord } from './entry.js';
import { HeldIntents } from './held-intents.js';

export interface StreamIntakeOptions {
  /** Where the stream is. Stay open when the intake has stopped. */
  readonly servers: KeyServers;
  /** The key of the stream. */
  readonly stream: string;
  readonly group: string;
  readonly handle: BatchHandler;
  readonly outage: OutageReport;
  readonly logger: Logger;
}

export interface StreamIntake extends Intake {
  /** Starts to hand out batches. */
  start(): void;
}

/** As many records as one script or one XACK can carry without holding up the server. */
const BATCH = 500;
/** How long a read waits for entries, hence about how long `stop` takes. Below the command timeout. */
const BLOCK_MS = 1_000;
/** How often to look whether there is a stream. A server without one pays an EXISTS each time. */
const LOOK_INTERVAL_MS = 1_000;
/** How soon the others take over from a consumer that died. */
const CLAIM_IDLE_MS = 10_000;
/** How often a consumer says that it still works on what it has. */
const KEEP_INTERVAL_MS = 3_000;
/** How often to look for what dead consumers left, and for consumers that are gone. */
const CLAIM_INTERVAL_MS = 2_000;
const REMOVE_IDLE_MS = 15_000;
/** Before the next read, where an application writes in transactional mode. */
const INTENTS_PAUSE_MS = 100;
/** How often a long batch forgets what is accepted. */
const FINISH_INTERVAL_MS = 250;

export function createStreamIntake({
  servers,
  stream,
  group,
  handle,
  outage,
  logger,
}: StreamIntakeOptions): StreamIntake {
  // Never the name of an earlier process: that would take what it was assigned for ours.
  const consumer = `${hostname()}-${process.pid}-${ulid()}`;
  const consumerGroup = new ConsumerGroup({ servers, stream, group, consumer });
  const intents = new HeldIntents(consumerGroup);
  const stopping = new AbortController();
  // Each record of a batch may wait on it; Node warns past ten.
  setMaxListeners(0, stopping.signal);
  let joined = false;
  let claimAt = 0;
  let running: Promise<void> | undefined;
  let end!: { resolve: () => void; reject: (error: unknown) => void };
  const finished = new Promise<void>((resolve, reject) => {
    end = { resolve, reject };
  });

  async function run(): Promise<void> {
    for (let failed = 0; !stopping.signal.aborted; ) {
      try {
        const entries = await next();
        outage.worked();
        failed = 0;
        if (entries.length > 0) await handOut(entries);
      } catch (error) {
        outage.failed(messageOf(error));
        await backOff(++failed, stopping.signal);
      }
    }
    // Whatever can't be said now shows by silence.
    if (joined) await consumerGroup.leave().catch(() => {});
  }

  /** Entries to work on; none after about a second. */
  async function next(): Promise<readonly DeliveredEntry[]> {
    if (!joined) {
      joined = await consumerGroup.join();
      if (!joined) {
        await sleep(LOOK_INTERVAL_MS, undefined, { signal: stopping.signal }).catch(() => {});
        return [];
      }
      await announce();
    }
    const ripe = await intents.takeRipe(BATCH);
    if (ripe.length > 0) return ripe;
    if (Date.now() >= claimAt) {
      const claimed = await known(consumerGroup.claim(BATCH, CLAIM_IDLE_MS));
      if (claimed.length > 0) {
        const entries = await intents.holdYoung(claimed);
        if (entries.length > 0) {
          logger.info(`took over ${entries.length} entries of ${consumerGroup.place} that nobody had finished`);
        }
        return entries;
      }
      await consumerGroup.removeIdleConsumers(REMOVE_IDLE_MS);
      claimAt = Date.now() + CLAIM_INTERVAL_MS;
    }
    if (!joined) return [];
    const read = await known(consumerGroup.read(BATCH, BLOCK_MS));
    const entries = await intents.holdYoung(read);
    // Most intents are gone within milliseconds. Who does not hurry does not get to see them.
    if (entries.length < read.length)
      await sleep(INTENTS_PAUSE_MS, undefined, { signal: stopping.signal }).catch(() => {});
    return entries;
  }

  /** A stream that was deleted, by a flush or a restart without data, is waited for like one that never was. */
  async function known(reading: Promise<DeliveredEntry[] | 'gone'>): Promise<DeliveredEntry[]> {
    const entries = await reading;
    if (entries !== 'gone') return entries;
    joined = false;
    return [];
  }

  async function announce(): Promise<void> {
    logger.info(`reads ${consumerGroup.place} as ${group}`);
    if (await consumerGroup.mayEvict()) {
      logger.warn(
        `${consumerGroup.place} may be evicted when memory is full, and failed writes with it; set maxmemory-policy there to ` +
          'noeviction or to one of volatile-*',
      );
    }
  }

  async function handOut(entries: readonly DeliveredEntry[]): Promise<void> {
    const records = entries.map((entry) => entryRecord(stream, entry));
    const working = new Set(records);
    const accepted: IntakeRecord[] = [];
    const handled = new AbortController();

    async function finishAccepted(): Promise<void> {
      const finishing = [...accepted];
      if (finishing.length === 0) return;
      await consumerGroup.finish(finishing.map(({ position }) => position.offset));
      accepted.splice(0, finishing.length);
      for (const record of finishing) working.delete(record);
    }

    /** Runs beside the handler. A server that is away is met again by `untilTaken` below, which says so. */
    async function tend(): Promise<void> {
      let keepAt = Date.now() + KEEP_INTERVAL_MS;
      for (;;) {
        await sleep(FINISH_INTERVAL_MS, undefined, { signal: handled.signal }).catch(() => {});
        if (handled.signal.aborted) return;
        await finishAccepted().catch(() => {});
        if (Date.now() < keepAt || working.size === 0) continue;
        await consumerGroup.keep([...working].map(({ position }) => position.offset)).catch(() => {});
        keepAt = Date.now() + KEEP_INTERVAL_MS;
      }
    }

    const tending = tend();
    try {
      await handle({ records, signal: stopping.signal, accepted: (record) => void accepted.push(record) });
    } catch (error) {
      // What was not accepted stays assigned to this consumer and is claimed, here or elsewhere, when it has been idle for long.
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      logger.error(
        { stack },
        `unexpected ${name} in a batch of ${consumerGroup.place}, which is tried again: ${message}`,
      );
    } finally {
      handled.abort();
    }
    await tending;
    if (accepted.length === 0) return;
    // Once even when stopping; not finished, they come again, known by their ids.
    if (stopping.signal.aborted) await finishAccepted().catch(() => {});
    else await untilTaken(finishAccepted, { outage, explain: messageOf, signal: stopping.signal });
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
