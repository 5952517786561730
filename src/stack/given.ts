/** Services that somebody else runs, whose addresses the environment gives. */
import { type GivenAddresses, KAFKA_BROKERS, REDIS_SOURCE, REDIS_TARGET, TEMPORAL_ADDRESS } from './environment.js';
import { StackError } from './errors.js';
import { kafkaAnswers } from './kafka.js';
import { untilReady } from './processes/wait.js';
import { redisAnswers } from './redis.js';
import type { ServiceName } from './service.js';
import { temporalAnswers } from './temporal.js';

const ANSWERS_WITHIN_MS = 5_000;

interface GivenService {
  /** How a person calls it. */
  readonly title: string;
  /** The environment variable that gave the address. */
  readonly variable: string;
  /** Without a password. */
  readonly address: string;
  /**
   * Resolves when it answers and holds what keymend needs of it; rejects with the reason when not.
   */
  readonly answers: () => Promise<void>;
}

/** @returns the service if its address is given, undefined if it is ours to run */
export function givenService(given: GivenAddresses, name: ServiceName): GivenService | undefined {
  switch (name) {
    case 'temporal': {
      const address = given.temporal?.address;
      if (address === undefined) return undefined;
      return { title: 'Temporal', variable: TEMPORAL_ADDRESS, address, answers: () => temporalAnswers(address) };
    }
    case 'kafka': {
      const brokers = given.kafka?.brokers;
      if (brokers === undefined) return undefined;
      const address = brokers.join(',');
      return { title: 'Kafka', variable: KAFKA_BROKERS, address, answers: () => kafkaAnswers(brokers) };
    }
    case 'redis-source':
      return givenRedis('Redis (source)', REDIS_SOURCE, given.redisSource);
    case 'redis-target':
      return givenRedis('Redis (target)', REDIS_TARGET, given.redisTarget);
    case 'mariadb':
      // Who has one asks for none.
      return undefined;
  }
}

/** @throws StackError when the service does not answer within seconds */
export async function awaitGiven(service: GivenService): Promise<void> {
  const readiness = await untilReady(service.answers, ANSWERS_WITHIN_MS);
  if (readiness.kind !== 'silent') return;
  throw new StackError(
    `${service.title} at ${service.address} does not answer (${readiness.reason}); start it, or unset ${service.variable} to have one started here`,
  );
}

function givenRedis(title: string, variable: string, url: string | undefined): GivenService | undefined {
  if (url === undefined) return undefined;
  return { title, variable, address: url.replace(/\/\/[^/]*@/, '//'), answers: () => redisAnswers(url) };
}
