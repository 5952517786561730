/**
 * The outboxes as the bridge's intake, without Kafka: one intake and one forwarder for each source.
 */
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { createStreamDeadLetters } from '../outbox/dead-letters.js';
import type { OnGap } from '../outbox/deleted.js';
import { createOutboxIntake, type OutboxIntake } from '../outbox/intake.js';
import { outboxSources } from '../outbox/sources.js';
import { isAway, type RedisFailure } from '../redis/index.js';
import { type Counters, type Forwarded, Forwarder, type Forwarding } from './forwarder.js';

/**
 * @throws RedisFailure when no source can be used as it is configured. One that is away is only
 *   logged, because it is tried again and the others must not wait for it
 */
export async function startFromOutboxes(
  { links, stream }: Pick<Config, 'links' | 'stream'>,
  forwarding: Forwarding,
): Promise<Forwarded> {
  const { version, logger, gaps } = forwarding;
  const parts = outboxSources(links).map((source) => {
    const deadLetters = createStreamDeadLetters(source, stream, (line) => logger.warn(line));
    const { forward: handle, counters } = new Forwarder({ ...forwarding, of: source.name, deadLetters });
    const onGap: OnGap = (gap, signal) => gaps.open(gap, signal, source.links);
    const reading = { source, key: stream.key, group: stream.groupId, handle, putsAside: true, onGap, version, logger };
    const intake = createOutboxIntake(reading);
    return { intake, counters, finished: intake.finished.finally(() => deadLetters.close()) };
  });
  const finished = Promise.all(parts.map((part) => part.finished)).then(() => {});
  const stop = async () => {
    await Promise.all(parts.map(({ intake }) => intake.stop()));
    await finished;
  };
  try {
    await checkSources(
      parts.map(({ intake }) => intake),
      logger,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  for (const { intake } of parts) intake.start();
  // Of each the records are those of other links: one that can't be read is enough to be told of.
  const isReading = () => parts.every(({ intake }) => intake.isReading());
  return { counters: sum(parts.map(({ counters }) => counters)), finished, isReading, stop };
}

async function checkSources(intakes: readonly OutboxIntake[], logger: Logger): Promise<void> {
  const checks = await Promise.allSettled(intakes.map((intake) => intake.check()));
  const problems = checks.flatMap((check) => (check.status === 'rejected' ? [check.reason as RedisFailure] : []));
  const unusable = problems.filter((problem) => !isAway(problem));
  if (unusable.length === intakes.length) throw unusable[0]!;
  for (const { message } of problems) logger.error(message);
}

function sum(all: readonly Counters[]): Counters {
  const total = (name: keyof Counters) => all.reduce((total, counters) => total + counters[name], 0);
  return {
    get received() {
      return total('received');
    },
    get signalled() {
      return total('signalled');
    },
    get deadLettered() {
      return total('deadLettered');
    },
  };
}
