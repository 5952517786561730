/**
 * Failed writes from a Kafka topic. kafkajs hands out batches; this keeps the membership alive and
 * the offsets honest.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Consumer, type EachBatchPayload, type Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import type { Backlog, BatchHandler, Intake, Reading } from '../events/intake.js';
import { isTimed } from '../events/record-times.js';
import { Aside } from '../patience/aside.js';
import { Outage } from '../patience/outage.js';
import { counted } from '../plural.js';
import { AcceptedPrefix } from './accepted-prefix.js';
import { Assignment } from './assignment.js';
import { kafkaErrorMessage } from './client.js';
import { type LookAroundOptions, lookAround } from './look-around.js';
import { sharingOutAs } from './member-version.js';
import { keepCommittedOffset } from './out-of-range.js';
import { readWhatCanBeRead } from './protocol/unreadable.js';
import { recordOf } from './record.js';
import type { TopicWatch } from './topic-watch.js';

// kafkajs is CommonJS, and Node sees only some of its names as named exports.
const { KafkaJSError } = kafkajs;

/** The consumer ended and will not come back. The message is one line. */
class IntakeEnded extends Error {
  override readonly name = 'IntakeEnded';
}

interface KafkaIntakeOptions extends LookAroundOptions {
  readonly handle: BatchHandler;
  /** The release, which the group is told; absent: it is not. */
  readonly version?: string | undefined;
}

/**
 * How soon the others take over from a bridge that died. Heartbeats run beside the work, so a slow
 * batch is no death.
 */
const SESSION_TIMEOUT_MS = 15_000;
const HEARTBEAT_INTERVAL_MS = 3_000;
/**
 * How often a long batch looks whether it is still wanted; heartbeats and commits have their own,
 * longer interval.
 */
const WATCH_INTERVAL_MS = 250;
const COMMIT_INTERVAL_MS = 1_000;
/** Of what one fetch brought. */
const PARTITIONS_AT_ONCE = 4;
/**
 * How old what the consumer knows of the topic may be: added partitions are read, and partitions
 * whose leader it does not know are looked up again, after this. kafkajs' own is five minutes.
 */
export const METADATA_AGE_MS = 10_000;
/**
 * kafkajs asks a broker for more only when all that it gave before is handled, so one key that is
 * waited for would hold up every partition of that broker.
 */
const ASIDE = { getsOnWithinMs: 1_000, most: 4 };
/** A batch that failed comes again after this. */
const FAILED_REST_MS = 1_000;
/** How long a fetch waits for records, hence about how long `stop` takes. */
const FETCH_WAIT_MS = 500;

/** Joins the consumer group and starts to hand out batches. */
export async function startKafkaIntake(options: KafkaIntakeOptions): Promise<Intake & Reading> {
  const { kafka, config, handle, version, logger } = options;
  readWhatCanBeRead();
  keepCommittedOffset();
  const outage = new Outage(logger, 'the Kafka consumer does not get on');
  let stopping = false;
  const aside = new Aside({ ...ASIDE, isStopping: () => stopping });
  const assignment = new Assignment();
  let end: { resolve: () => void; reject: (error: Error) => void };
  const finished = new Promise<void>((resolve, reject) => {
    end = { resolve, reject };
  });
  const consumer = createConsumer(kafka, config.groupId, version, () => stopping);

  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    outage.worked();
    // Whoever has joined as well is known in a moment.
    lookNow();
    const partitions = payload.memberAssignment[config.topic] ?? [];
    assignment.set(partitions);
    topic.joined(partitions);
    logger.info(
      { partitions },
      `reads ${counted(partitions.length, 'partition')} of ${config.topic} as ${config.groupId}`,
    );
  });
  consumer.on(consumer.events.CRASH, ({ payload: { error, restart } }) => {
    if (restart) outage.failed(kafkaErrorMessage(error));
    else if (!stopping) {
      const ended = new IntakeEnded(describeCrash(config, error), { cause: error });
      // What is aside may wait for a gap to be kept, which nobody is to wait for any more.
      assignment.set([]);
      void aside.ended().then(() => end.reject(ended));
    }
  });

  const { topic, lookNow, begin, giveUp, close } = lookAround(options, consumer, assignment);
  finished.then(close, close);
  const run = async () => {
    await consumer.connect();
    await consumer.subscribe({ topics: [config.topic], fromBeginning: true });
    await consumer.run({
      eachBatch: (payload) => {
        const isOurs = assignment.holds(payload.batch.partition);
        return handleOrPutAside(payload, aside, { handle, topic, logger, isOurs, isStopping: () => stopping });
      },
      eachBatchAutoResolve: false,
      autoCommitInterval: COMMIT_INTERVAL_MS,
      partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
    });
  };
  try {
    await begin();
    await run();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    finished,
    isReading: () => !outage.isOn,
    async stop() {
      stopping = true;
      giveUp();
      pauseAll(consumer, config.topic);
      // What they get accepted is committed by them, for which the group must not be left yet.
      await aside.ended();
      await leave(consumer, logger);
      await close();
      end.resolve();
    },
  };
}

function createConsumer(
  kafka: Kafka,
  groupId: string,
  version: string | undefined,
  isStopping: () => boolean,
): Consumer {
  return kafka.consumer({
    groupId,
    sessionTimeout: SESSION_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_INTERVAL_MS,
    maxWaitTimeInMs: FETCH_WAIT_MS,
    metadataMaxAge: METADATA_AGE_MS,
    allowAutoTopicCreation: false,
    ...(version !== undefined && { partitionAssigners: [sharingOutAs(version)] }),
    // A stopped consumer must not come back from a restart that was already planned.
    retry: { restartOnFailure: async () => !isStopping() },
  });
}

interface Handling {
  readonly handle: BatchHandler;
  readonly topic: TopicWatch;
  readonly logger: Logger;
  /** Whether the partition is. A batch that is aside outlives a rebalance. */
  readonly isOurs: () => boolean;
  readonly isStopping: () => boolean;
}

function handleOrPutAside(payload: EachBatchPayload, aside: Aside, handling: Handling): Promise<void> {
  const prefix = new AcceptedPrefix(payload.batch.messages.length);
  const handled = handleBatch(payload, prefix, handling);
  return aside.handledOrAside(
    handled,
    () => prefix.accepted,
    () => restUntil(handled, payload, handling.isStopping),
  );
}

/**
 * The partition of a batch that is aside rests, and goes on behind what was accepted of it. At
 * once: the next fetch must not bring the same records.
 */
function restUntil(handled: Promise<void>, payload: EachBatchPayload, isStopping: () => boolean): Promise<void> {
  const goOn = payload.pause();
  return (
    handled
      // It has been told of, and comes again.
      .catch(() => sleep(FAILED_REST_MS))
      .then(() => payload.commitOffsetsIfNecessary(payload.uncommittedOffsets()))
      // After a rebalance: it comes again, here or elsewhere.
      .catch(() => {})
      .finally(() => {
        if (!isStopping()) goOn();
      })
  );
}

async function handleBatch(
  payload: EachBatchPayload,
  prefix: AcceptedPrefix,
  { handle, topic, logger, isOurs, isStopping }: Handling,
): Promise<void> {
  const { batch, resolveOffset, heartbeat } = payload;
  // Batches fetched before a rebalance are still handed out after it; this tells.
  await heartbeat();
  const isWanted = () => isOurs() && !isStopping();
  if (!isWanted()) return;
  const records = batch.messages.map((message) => recordOf(batch, message));
  const indexOf = new Map(records.map((record, index) => [record, index]));
  const unwanted = new AbortController();
  // Each record of the batch may wait on it; Node warns past ten.
  setMaxListeners(0, unwanted.signal);
  const handled = new AbortController();
  const watching = watch(payload, { unwanted, handled: handled.signal, isWanted });
  try {
    const { fetchedOffset } = batch as unknown as { fetchedOffset: string };
    // What is lost in front of it is told before anything of it is committed.
    const mayGoOn = await topic.fetched(batch.partition, fetchedOffset, batch.lastOffset(), unwanted.signal);
    if (!mayGoOn || !isWanted() || unwanted.signal.aborted) return;
    await handle({
      records,
      backlog: backlogOf(batch),
      isContiguous: true,
      signal: unwanted.signal,
      accepted(record) {
        const last = prefix.accept(indexOf.get(record)!);
        // Of a partition that is another's by now the offset is not ours to set.
        if (last === null || !isOurs()) return;
        const { offset } = batch.messages[last]!;
        resolveOffset(offset);
        topic.accepted(batch.partition, last === records.length - 1 ? batch.lastOffset() : offset);
      },
    });
  } catch (error) {
    throw retriable(error, `${batch.topic}[${batch.partition}]`, logger);
  } finally {
    handled.abort();
  }
  await watching;
}

/**
 * Keeps the member alive and commits what is accepted until the batch is handled; aborts the work
 * when it is not wanted.
 */
async function watch(
  { heartbeat, commitOffsetsIfNecessary, isRunning, isStale }: EachBatchPayload,
  { unwanted, handled, isWanted }: { unwanted: AbortController; handled: AbortSignal; isWanted: () => boolean },
): Promise<void> {
  for (;;) {
    // Rejects when aborted, which the next line sees.
    await sleep(WATCH_INTERVAL_MS, undefined, { signal: handled }).catch(() => {});
    if (handled.aborted) return;
    if (!isRunning() || isStale() || !isWanted()) unwanted.abort();
    try {
      // Also after an abort: the work under way still ends, and what it gets accepted is to be
      // committed.
      await heartbeat();
      await commitOffsetsIfNecessary();
    } catch {
      // Most often a rebalance. kafkajs meets the same error in the heartbeat of its own after the
      // batch, and acts on it.
      return unwanted.abort();
    }
  }
}

function backlogOf({ messages, highWatermark }: EachBatchPayload['batch']): Backlog {
  const [first] = messages;
  if (first === undefined) return { records: 0, ageMs: 0 };
  const records = Number(BigInt(highWatermark) - BigInt(first.offset));
  const now = Date.now();
  const oldest = messages.find((message) => isTimed(message, now));
  return { records, ageMs: oldest === undefined ? 0 : now - Number(oldest.timestamp) };
}

/**
 * kafkajs ends the consumer for good when a handler throws, for example, a TypeError. Whatever it
 * is: the batch comes again.
 */
function retriable(error: unknown, place: string, logger: Logger): Error {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  logger.error({ stack }, `unexpected ${name} in a batch of ${place}, which is tried again: ${message}`);
  return new KafkaJSError(`${name}: ${message}`, { retriable: true });
}

/** So that nothing more is fetched. */
function pauseAll(consumer: Consumer, topic: string): void {
  try {
    consumer.pause([{ topic }]);
  } catch {
    // It does not run, so it fetches nothing.
  }
}

async function leave(consumer: Consumer, logger: Logger): Promise<void> {
  try {
    await consumer.disconnect();
  } catch (error) {
    // The coordinator then notices by the missing heartbeats.
    logger.warn(`the consumer group could not be left: ${kafkaErrorMessage(error)}`);
  }
}

function describeCrash({ brokers, topic, groupId }: KafkaConfig, error: Error): string {
  const what = `the Kafka consumer ${groupId} of ${topic} at ${brokers.join(',')} ended: ${kafkaErrorMessage(error)}`;
  return `${what}; no record is lost, fix the cause and start again`;
}
