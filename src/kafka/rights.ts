/**
 * What each process does in Kafka, and whether its user may. Asked of the broker at the start, for
 * some of it is needed only when something goes wrong.
 */
import type { Kafka } from 'kafkajs';
import type { KafkaConfig } from '../config.js';
import { kafkaErrorType } from './client.js';
import { type Cluster, connectCluster } from './protocol/cluster.js';
import { askTopic } from './protocol/topic-metadata.js';

export type Process = 'bridge' | 'worker';

interface Right {
  readonly operation: keyof typeof OPERATIONS;
  readonly of: 'topic' | 'group';
  readonly name: string;
  /** What does not work without it, where all else does; null: nothing works. */
  readonly without: string | null;
}

/** The protocol's numbers of them. */
const OPERATIONS = { READ: 3, WRITE: 4 };
const DESCRIBE = 8;
/** TOPIC_AUTHORIZATION_FAILED: it may not even see the topic. */
const DENIED = 29;

/** As the table in docs/security.md has them, which a test tries. */
function rightsOf({ topic, deadLetterTopic, groupId }: KafkaConfig): Record<Process, readonly Right[]> {
  const letters: Right = { operation: 'WRITE', of: 'topic', name: deadLetterTopic, without: null };
  const [twice, relay] = ['no redrive works, and a letter may be there twice', 'what is in an outbox stays there'];
  return {
    bridge: [
      { operation: 'READ', of: 'topic', name: topic, without: null },
      { operation: 'READ', of: 'group', name: groupId, without: null },
      letters,
      { operation: 'WRITE', of: 'topic', name: topic, without: relay },
    ],
    worker: [letters, { operation: 'READ', of: 'topic', name: deadLetterTopic, without: twice }],
  };
}

/** What a user may not do, and which topics it does not even see, as far as the broker tells. */
interface Limits {
  readonly missing: readonly Right[];
  readonly hidden: ReadonlySet<string>;
}

/**
 * A broker that tells nothing of a topic (before Kafka 2.8) is taken to allow all of it, and to
 * hide what it does not list.
 * @throws an error of kafkajs when no broker answers
 */
export async function limitsOf(kafka: Kafka, config: KafkaConfig, processes: readonly Process[]): Promise<Limits> {
  const all = rightsOf(config);
  const wanted = new Map(
    processes
      .flatMap((process) => all[process])
      .map((right) => [`${right.operation} ${right.of} ${right.name}`, right]),
  );
  const topics = [config.topic, config.deadLetterTopic];
  const cluster = await connectCluster(kafka);
  if (cluster === null) return { missing: [], hidden: new Set(topics) };
  try {
    // Of a login that is refused others tell.
    const told = await Promise.all(topics.map((topic) => askTopic(cluster, topic).catch(() => null)));
    const isMissing = async ({ operation, of, name }: Right) => {
      if (of === 'group') return !(await mayRead(cluster, name));
      const topic = told[topics.indexOf(name)];
      if (topic?.error === DENIED) return true;
      // Of one that is not there others tell.
      return topic?.error === 0 && !permits(topic.allowed, operation);
    };
    const missing: Right[] = [];
    for (const right of wanted.values()) if (await isMissing(right)) missing.push(right);
    return { missing, hidden: new Set(topics.filter((_, index) => (told[index]?.error ?? DENIED) === DENIED)) };
  } finally {
    await cluster.disconnect().catch(() => {});
  }
}

/**
 * @param allowed a bit for each operation; a broker that asks no authorizer, or is another program
 *   that speaks Kafka's protocol, may say nothing in it
 */
export function permits(allowed: number, operation: keyof typeof OPERATIONS): boolean {
  const has = (number: number) => (allowed & (1 << number)) !== 0;
  // Whoever sees a topic may describe it.
  return !has(DESCRIBE) || has(OPERATIONS[operation]);
}

/** A sign of life of a member that is not there changes nothing, and wants the same right. */
async function mayRead(cluster: Cluster, groupId: string): Promise<boolean> {
  try {
    // kafkajs' own search does not say why it finds none; the broker does.
    const { seedBroker } = cluster.brokerPool;
    const { coordinator } = await seedBroker.findGroupCoordinator({ groupId, coordinatorType: GROUP });
    await cluster.refreshMetadata();
    const broker = await cluster.findBroker({ nodeId: `${coordinator.nodeId}` });
    await broker.heartbeat({ groupId, groupGenerationId: 0, memberId: 'keymend' });
    return true;
  } catch (error) {
    return kafkaErrorType(error) !== 'GROUP_AUTHORIZATION_FAILED';
  }
}

const GROUP = 0; // The kind of coordinator.

/** One line of what is missing, and the commands that allow it. */
export function describeMissingRights({ brokers, sasl }: KafkaConfig, who: string, missing: readonly Right[]): string {
  const server = brokers.join(',');
  const may = missing.map(({ operation, of, name }) => `${operation} the ${of} ${name}`).join(' and ');
  const without = missing.flatMap(({ without }) => without ?? []);
  const allow = missing.map(
    ({ operation, of, name }) =>
      `kafka-acls.sh --bootstrap-server ${server} --add --allow-principal User:${sasl?.username ?? 'NAME'} ` +
      `--operation ${operation} --${of} ${name}`,
  );
  const what = [`${who} may not ${may} at Kafka ${server}`, ...without].join(': ');
  return `${what}; allow it, for example: ${allow.join(' && ')}`;
}
