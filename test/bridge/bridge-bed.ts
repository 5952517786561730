/**
 * A bridge on the real stack with topics, a consumer group, a task queue and workflow IDs of its
 * own.
 */
import { type Client, Connection, Client as TemporalClient, type WorkflowClient } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import {
  type CompressionTypes,
  type ITopicConfig,
  Kafka,
  type KafkaMessage,
  logLevel,
  type Message,
  Partitioners,
} from 'kafkajs';
import { pino } from 'pino';
import { ulid } from 'ulid';
import { onTestFinished } from 'vitest';
import { type Bridge, startBridge } from '../../src/bridge/bridge.js';
import type { SignalClient } from '../../src/bridge/runs/own-runs.js';
import { workflowIdFor } from '../../src/bridge/workflow-id.js';
import { type Config, parseConfig } from '../../src/config.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import type { Metrics } from '../../src/telemetry/metrics.js';
import { type Gap, gapWorkflowId } from '../../workflows/gap-messages.js';
import type { FailedWrite, ReconcileKeyInput } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';
import { createTopics } from '../support/topics.js';

export interface BedOptions {
  readonly partitions?: number;
  /** Of the link, as in keymend.yaml. */
  readonly settle?: string;
  /** Other links than the usual one: a gap belongs to a link, and all tests share the stack. */
  readonly links?: readonly string[];
  readonly deadLetterTopic?: Partial<ITopicConfig>;
  /** As in keymend.yaml. */
  readonly surge?: { readonly enter: number; readonly leave: number };
  /** Other services than those of the stack. */
  readonly brokers?: readonly string[];
  readonly temporal?: string;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** What Temporal knows of one key. */
export interface SeenWorkflow {
  readonly input: ReconcileKeyInput;
  readonly searchAttributes: Record<string, unknown>;
  readonly taskQueue: string;
  /** ms; 0 when there is none. */
  readonly startDelay: number;
  /** The argument of each `failedWrites` signal, in order. */
  readonly signals: readonly FailedWrite[][];
}

export const LINK = 'east-to-west';
const WARN = 40;

export type BridgeBed = Awaited<ReturnType<typeof bridgeBed>>;

/** Cleans up after the test that calls it. */
export async function bridgeBed(options: BedOptions = {}) {
  const id = ulid().toLowerCase();
  const brokers = options.brokers ?? stack().kafka.brokers;
  const topic = `failed-writes-${id}`;
  const deadLetterTopic = `${topic}.dlq`;
  const prefix = `${id}/`;
  const links = options.links ?? [LINK];
  const toMessage = (message: Message | Partial<FailedWrite>): Message => {
    if ('value' in message) return message;
    const event = failedWrite({ link: links[0]!, ...(message as Partial<FailedWrite>) });
    return { key: Buffer.from(event.key, event.encoding ?? 'utf8'), value: JSON.stringify(event) };
  };
  const config = parseConfig(
    JSON.stringify({
      temporal: { taskQueue: `no-worker-${id}` },
      kafka: { brokers, topic, deadLetterTopic, groupId: `bridge-${id}` },
      ...(options.surge && { surge: options.surge }),
      links: links.map((name, index) => ({
        name,
        source: { url: 'redis://127.0.0.1:1' },
        target: { url: 'redis://127.0.0.1:2' },
        workflowIdPrefix: index === 0 ? prefix : `${index}/${prefix}`,
        settle: options.settle ?? '1s',
      })),
    }),
    'the test',
    {},
  );
  if (config.intake !== 'kafka') throw new Error('this bed is for Kafka');

  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  const temporal = options.temporal ?? stack().temporal.address;
  const connection = await Connection.connect({ address: temporal });
  const client = new TemporalClient({ connection });
  const bridges = new Set<Bridge>();
  const closing: (() => Promise<void>)[] = [];
  const logs: LogLine[] = [];

  onTestFinished(async () => {
    await Promise.all([...bridges].map((bridge) => bridge.stop()));
    // Only now: a client that is closed under a call of its own throws into the void.
    for (const close of closing) await close();
    for await (const { workflowId } of client.workflow.list({ query: `TaskQueue = '${config.temporal.taskQueue}'` })) {
      await client.workflow
        .getHandle(workflowId)
        .terminate()
        .catch(() => {});
    }
    await admin.deleteTopics({ topics: [topic, deadLetterTopic] }).catch(() => {});
    await Promise.all([admin.disconnect(), producer.disconnect(), connection.close()]);
  });

  await Promise.all([admin.connect(), producer.connect()]);
  await createTopics(
    admin,
    { topic, numPartitions: options.partitions ?? 1 },
    {
      topic: deadLetterTopic,
      configEntries: [{ name: 'max.message.bytes', value: '2097152' }],
      ...options.deadLetterTopic,
    },
  );

  const bed = {
    config,
    client,
    admin,
    kafka,
    logs,
    /** Lines that an operator sees by default. */
    warnings: () => logs.filter(({ level }) => level >= WARN).map(({ msg }) => msg),

    async start(
      overrides: { client?: SignalClient; config?: Config; metrics?: Metrics; version?: string } = {},
    ): Promise<Bridge> {
      const bridge = await startBridge({ config, client: client.workflow, logger: loggerInto(logs), ...overrides });
      bridges.add(bridge);
      // A test that does not look at it must not fail because of it.
      bridge.finished.catch(() => {});
      return bridge;
    },

    /** A client of its own to Temporal, through a network that can be broken. */
    async clientThroughProxy(): Promise<{ client: WorkflowClient; proxy: FaultProxy }> {
      const [host, port] = temporal.split(':') as [string, string];
      const proxy = await startProxy({ target: { host, port: Number(port) } });
      const away = await Connection.connect({
        address: `127.0.0.1:${proxy.port}`,
        // Without the retries of its own, so that each failure reaches the bridge.
        interceptors: [],
      });
      closing.push(async () => {
        await away.close();
        await proxy.close();
      });
      return { client: new TemporalClient({ connection: away }).workflow, proxy };
    },

    /** Writes to partition 0 unless the message says otherwise. */
    async produce(...messages: (Message | Partial<FailedWrite>)[]): Promise<void> {
      await producer.send({ topic, messages: messages.map((message) => ({ partition: 0, ...toMessage(message) })) });
    },

    /** By a producer of its own, which knows every partition that there is now. */
    async produceTo(
      partition: number,
      message: Message | Partial<FailedWrite>,
      compression?: CompressionTypes,
    ): Promise<void> {
      const fresh = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
      await fresh.connect();
      try {
        await fresh.send({
          topic,
          messages: [{ ...toMessage(message), partition }],
          ...(compression && { compression }),
        });
      } finally {
        await fresh.disconnect();
      }
    },

    /** The next offset of each partition that the group will read; 0 when nothing is committed. */
    async committed(): Promise<number[]> {
      const [offsets] = await admin.fetchOffsets({ groupId: config.kafka.groupId, topics: [topic] });
      return (offsets?.partitions ?? [])
        .sort((a, b) => a.partition - b.partition)
        .map(({ offset }) => Math.max(0, Number(offset)));
    },

    /** Waits until the group has committed this far in every partition. */
    async untilCommitted(...offsets: number[]): Promise<void> {
      await until(async () => {
        const now = await bed.committed();
        if (now.join() !== offsets.join()) throw new Error(`committed ${now}, not ${offsets}`);
      });
    },

    /** Waits for at least `count` dead letters and returns all that are there, oldest first. */
    async deadLetters(count: number): Promise<KafkaMessage[]> {
      const messages: KafkaMessage[] = [];
      const consumer = kafka.consumer({ groupId: `reader-${ulid()}`, maxWaitTimeInMs: 100 });
      await consumer.connect();
      await consumer.subscribe({ topics: [deadLetterTopic], fromBeginning: true });
      await consumer.run({ eachMessage: async ({ message }) => void messages.push(message) });
      try {
        await until(() => {
          if (messages.length < count) throw new Error(`${messages.length} of ${count} dead letters`);
        });
      } finally {
        await consumer.disconnect();
      }
      return messages;
    },

    async deadLetterCount(): Promise<number> {
      const offsets = await admin.fetchTopicOffsets(deadLetterTopic);
      return offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
    },

    /** What Temporal knows of a key; fails when it knows nothing. */
    async workflow(key: string | Buffer): Promise<SeenWorkflow> {
      return readWorkflow(client, workflowIdFor(prefix, Buffer.from(key)));
    },

    /**
     * Ids of the failed writes signalled to a key, one list per signal; of those that became one,
     * all. Empty when there is no workflow.
     */
    async signalledIds(key: string): Promise<string[][]> {
      const seen = await bed.workflow(key).catch(() => null);
      return (seen?.signals ?? []).map((events) => events.flatMap(ownIds));
    },
  };
  return bed;
}

/** Of the failed writes in it. Where it was told as a whole key it has one of its own besides. */
export function ownIds({ id, merged }: FailedWrite): string[] {
  return merged?.ids.filter((each) => !each.startsWith('whole-')) ?? [id];
}

/** A record of the link. The key is the record key, as producers do it. */
export function failedWrite(fields: Partial<FailedWrite> = {}): FailedWrite {
  return {
    specVersion: 1,
    id: ulid(),
    link: LINK,
    key: 'user:42',
    failedAt: new Date().toISOString(),
    outcome: 'refused',
    command: 'SADD',
    ...fields,
  };
}

/** What the bridge has told the gap of a link. */
export async function toldOf({ client }: { readonly client: Client }, link: string): Promise<Gap[]> {
  const { events } = await client.workflow.getHandle(gapWorkflowId(link)).fetchHistory();
  return events!.flatMap(({ workflowExecutionSignaledEventAttributes: signal }) =>
    signal ? (defaultPayloadConverter.fromPayload(signal.input!.payloads![0]!) as Gap[]) : [],
  );
}

/** A client whose `signalWithStart` is what `act` makes of it. */
export function clientThat(
  client: WorkflowClient,
  act: (key: string, send: () => Promise<unknown>) => Promise<unknown>,
): SignalClient {
  return {
    withDeadline: (deadline, run) => client.withDeadline(deadline, run),
    signalWithStart: (async (type: string, options: Parameters<WorkflowClient['signalWithStart']>[1]) => {
      const [{ key }] = options.args as unknown as [ReconcileKeyInput];
      return act(key, () => client.signalWithStart(type, options));
    }) as WorkflowClient['signalWithStart'],
  };
}

/** Something that others wait for, at the latest until the test is over. */
export function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  onTestFinished(() => open());
  return { open: () => open(), opened };
}

/** Repeats a check of the outside world until it does not throw. */
export function until(check: () => unknown): Promise<unknown> {
  return eventually(check);
}

export function loggerInto(lines: LogLine[]) {
  return pino({ level: 'debug', base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
}

async function readWorkflow(client: Client, workflowId: string): Promise<SeenWorkflow> {
  const handle = client.workflow.getHandle(workflowId);
  const { events } = await handle.fetchHistory();
  const started = events?.[0]?.workflowExecutionStartedEventAttributes;
  if (!started) throw new Error(`no history of ${workflowId}`);
  const { seconds, nanos } = started.firstWorkflowTaskBackoff ?? {};
  const decode = (payload: Parameters<typeof defaultPayloadConverter.fromPayload>[0]) =>
    defaultPayloadConverter.fromPayload(payload);
  return {
    input: decode(started.input!.payloads![0]!) as ReconcileKeyInput,
    searchAttributes: Object.fromEntries(
      Object.entries(started.searchAttributes?.indexedFields ?? {}).map(([name, value]) => [name, decode(value)]),
    ),
    taskQueue: started.taskQueue!.name!,
    startDelay: Number(seconds ?? 0) * 1000 + (nanos ?? 0) / 1e6,
    signals: events!
      .map(({ workflowExecutionSignaledEventAttributes: signal }) => signal)
      .filter((signal) => signal?.signalName === 'failedWrites')
      .map((signal) => decode(signal!.input!.payloads![0]!) as FailedWrite[]),
  };
}
