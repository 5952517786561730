/** What a consumer has to work on next: what it held, what others left, what is new. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { counted } from '../plural.js';
import type { ConsumerGroup, DeliveredEntry } from './consumer-group.js';
import { HeldIntents } from './held-intents.js';

interface EntryReaderOptions {
  readonly consumerGroup: ConsumerGroup;
  /** Its name, for messages. */
  readonly group: string;
  /** Resolves when it is told that the stream was deleted, or when that is given up. */
  readonly onDeleted: () => Promise<void>;
  readonly logger: Logger;
  /** Ends its waits. */
  readonly signal: AbortSignal;
}

interface EntryReader {
  /** Entries to work on, at most 500; none after about a second. @throws RedisFailure */
  next(): Promise<readonly DeliveredEntry[]>;
  /** Whether the group knows this consumer. */
  readonly hasJoined: boolean;
}

/** As many records as one script or one XACK can carry without holding up the server. */
const BATCH = 500;
/**
 * How long a read waits for entries, hence about how long it takes to stop. Below the command
 * timeout.
 */
const BLOCK_MS = 1_000;
/** How often to look whether there is a stream. A server without one pays an EXISTS each time. */
const LOOK_INTERVAL_MS = 1_000;
/** How soon the others take over from a consumer that died. */
const CLAIM_IDLE_MS = 10_000;
/** How often to look for what dead consumers left, and for consumers that are gone. */
const CLAIM_INTERVAL_MS = 2_000;
const REMOVE_IDLE_MS = 15_000;
/** Before the next read, where an application writes in transactional mode. */
const INTENTS_PAUSE_MS = 100;

export function createEntryReader(options: EntryReaderOptions): EntryReader {
  const { consumerGroup, group, onDeleted, logger, signal } = options;
  const intents = new HeldIntents(consumerGroup, CLAIM_IDLE_MS);
  let joined = false;
  let mayBeDeleted = false;
  let claimAt = 0;

  const pause = (ms: number) => sleep(ms, undefined, { signal }).catch(() => {});

  function gone(): [] {
    joined = false;
    mayBeDeleted = true;
    return [];
  }

  /**
   * An outbox that is read to its end stays, with its group. So one without them was deleted, and
   * what waited in it is lost; unless its slot has moved, where it is found again.
   */
  async function tellIfDeleted(): Promise<void> {
    if (!(await consumerGroup.isThere())) await onDeleted();
    mayBeDeleted = false;
  }

  /** What nobody has finished for long, of this consumer or another; null: nothing. */
  async function claimLeft(): Promise<readonly DeliveredEntry[] | null> {
    const claimed = await consumerGroup.claim(BATCH, CLAIM_IDLE_MS);
    const { entries: left, isThrough } = claimed === 'gone' ? { entries: gone(), isThrough: true } : claimed;
    if (left.length === 0 && isThrough) {
      await consumerGroup.removeIdleConsumers(REMOVE_IDLE_MS);
      claimAt = Date.now() + CLAIM_INTERVAL_MS;
      return null;
    }
    // None, and not through: entries that their application has removed. There is more behind them.
    const entries = await intents.holdYoung(left);
    if (entries.length > 0) {
      logger.info(
        `took over ${counted(entries.length, 'entry', 'entries')} of ${consumerGroup.place} that nobody had finished`,
      );
    }
    return entries;
  }

  async function readNew(blockMs: number): Promise<readonly DeliveredEntry[]> {
    const reply = await consumerGroup.read(BATCH, blockMs);
    const read = reply === 'gone' ? gone() : reply;
    const entries = await intents.holdYoung(read);
    // Most intents are gone within milliseconds. Who does not hurry does not get to see them.
    if (entries.length < read.length) await pause(INTENTS_PAUSE_MS);
    return entries;
  }

  return {
    get hasJoined() {
      return joined;
    },
    async next() {
      if (!joined) {
        if (mayBeDeleted) await tellIfDeleted();
        joined = await consumerGroup.join();
        if (!joined) {
          await pause(LOOK_INTERVAL_MS);
          return [];
        }
        await announce(consumerGroup, group, logger);
      }
      const ripe = await intents.takeRipe(BATCH);
      if (ripe !== null && ripe.length > 0) return ripe;
      const left = Date.now() >= claimAt ? await claimLeft() : null;
      if (left !== null && left.length > 0) return left;
      // Intents that are young, however many are claimed, keep nothing new from being read.
      return joined ? readNew(left === null && ripe === null ? BLOCK_MS : 1) : [];
    },
  };
}

async function announce(consumerGroup: ConsumerGroup, group: string, logger: Logger): Promise<void> {
  logger.info(`reads ${consumerGroup.place} as ${group}`);
  if (!(await consumerGroup.mayEvict())) return;
  logger.warn(
    `${consumerGroup.place} may be evicted when memory is full, and failed writes with it; set maxmemory-policy there to ` +
      'noeviction or to one of volatile-*',
  );
}
