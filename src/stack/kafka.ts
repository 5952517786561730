/** Kafka: one node that is broker and controller (KRaft). */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { ulid } from 'ulid';
import { writeAtomically } from './processes/files.js';
import { HOST, type Ports } from './processes/ports.js';
import { run } from './programs/command.js';
import { type KafkaInstallation, provideKafka } from './programs/kafka-program.js';
import type { Provision } from './programs/provision.js';
import { withProgress } from './progress.js';
import { portOf, type Service } from './service.js';

const ANSWER_WITHIN_MS = 5_000;
const FORMAT_WITHIN_MS = 60_000;
/** Kafka's data, relative to the service's folder. */
const DATA = 'data';
/** Java's maximum of heap; enough for a laptop's demo and tests. */
const HEAP = '384m';

/**
 * Six partitions let six bridges share the failed writes. Dead letters are few, and one partition
 * keeps them in the order in which they came.
 */
const TOPICS = [
  { topic: 'keymend.failed-writes', numPartitions: 6 },
  {
    topic: 'keymend.failed-writes.dlq',
    numPartitions: 1,
    configEntries: [
      // Dead letters wait for a person, and the largest record must fit with its headers.
      { name: 'retention.ms', value: '-1' },
      { name: 'max.message.bytes', value: '2097152' },
    ],
  },
];

export const kafkaService: Service = {
  name: 'kafka',
  title: 'Kafka',
  ports: ['kafka', 'kafkaController'],

  async provide(provision) {
    const kafka = await provideKafka(provision);
    return async (folder, ports) => {
      const properties = join(folder, 'server.properties');
      writeAtomically(properties, serverProperties(ports, DATA));
      const environment = {
        ...provision.environment,
        KAFKA_HEAP_OPTS: `-Xmx${HEAP}`,
        // Kafka's own scripts write logs beside themselves unless told otherwise.
        LOG_DIR: join(folder, 'logs'),
      };
      await formatOnce(provision, kafka, folder, ports, environment);
      return { ...kafka.server(properties, HEAP), environment };
    };
  },

  answers: (ports) => kafkaAnswers([`${HOST}:${portOf(ports, 'kafka')}`]),
};

/** Resolves when the brokers answer and both topics are there; creates those that are missing. */
export async function kafkaAnswers(brokers: readonly string[]): Promise<void> {
  const kafka = new Kafka({
    clientId: 'keymend-stack',
    brokers: [...brokers],
    connectionTimeout: ANSWER_WITHIN_MS,
    requestTimeout: ANSWER_WITHIN_MS,
    retry: { retries: 0 },
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    const present = new Set(await admin.listTopics());
    const missing = TOPICS.filter(({ topic }) => !present.has(topic));
    if (missing.length > 0) {
      await admin.createTopics({ topics: [...missing], waitForLeaders: true });
    }
  } finally {
    await admin.disconnect();
  }
}

/**
 * Gives the storage its identity, before the first start: in a draft that becomes the data when
 * complete. The tool goes on for a moment when we are killed, so every attempt has a draft of its
 * own.
 */
async function formatOnce(
  provision: Provision,
  kafka: KafkaInstallation,
  folder: string,
  ports: Ports,
  environment: NodeJS.ProcessEnv,
): Promise<void> {
  if (existsSync(join(folder, DATA))) return;
  const draft = `${DATA}.draft-${ulid()}`;
  const properties = join(folder, `${draft}.properties`);
  writeAtomically(properties, serverProperties(ports, draft));
  const format = kafka.storageTool(['format', '--cluster-id', clusterId(), '--config', properties]);
  await withProgress(provision.report, 'Kafka: formatting its storage', () =>
    run(format.program, format.arguments, {
      environment,
      folder,
      timeoutMs: FORMAT_WITHIN_MS,
      signal: provision.signal,
    }),
  );
  renameSync(join(folder, draft), join(folder, DATA));
  for (const name of readdirSync(folder)) {
    if (name.startsWith(`${DATA}.draft-`)) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

/**
 * Kafka's form of a UUID: 16 bytes in URL-safe base64. A leading dash would look like an option to
 * its tools.
 */
function clusterId(): string {
  return randomBytes(16).toString('base64url').replace(/^-/, 'A');
}

/**
 * Paths are relative to the service's folder: a comma or a character outside of Latin-1 would not
 * survive in this file.
 */
function serverProperties(ports: Ports, data: string): string {
  const broker = portOf(ports, 'kafka');
  const controller = portOf(ports, 'kafkaController');
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@${HOST}:${controller}
listeners=PLAINTEXT://${HOST}:${broker},CONTROLLER://${HOST}:${controller}
advertised.listeners=PLAINTEXT://${HOST}:${broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=${data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
`;
}
