/** A Kafka that one test alone may stop and start again, beside the rest of the shared stack. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { stackDown, stackUp } from '../../src/stack/index.js';
import { stack } from './services.js';

export interface OwnKafka {
  readonly brokers: string[];
  /** Where it keeps its data. */
  readonly data: string;
  stop(): Promise<void>;
  /** With its data, at the same address. */
  start(): Promise<void>;
}

/** Gone when the test is. */
export async function startOwnKafka(): Promise<OwnKafka> {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-kafka-'));
  const environment = {
    ...process.env,
    KEYMEND_STACK_TEMPORAL_ADDRESS: stack().temporal.address,
    KEYMEND_STACK_REDIS_SOURCE: stack().redis.source,
    KEYMEND_STACK_REDIS_TARGET: stack().redis.target,
    // One that was given to the whole run is not ours to stop.
    KEYMEND_STACK_KAFKA_BROKERS: undefined,
  };
  const report = () => {};
  const up = () => stackUp({ directory, environment, report, preferredPorts: 'free' });
  const stop = async () => {
    await stackDown({ directory, report });
  };
  onTestFinished(async () => {
    await stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const { brokers } = (await up()).kafka;
  return {
    brokers,
    data: join(directory, 'kafka', 'data'),
    stop,
    async start() {
      const again = (await up()).kafka.brokers;
      if (`${again}` !== `${brokers}`) throw new Error(`Kafka came back at ${again} instead of ${brokers}`);
    },
  };
}
