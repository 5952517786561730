/** Source and target as real servers, the faulty link between, and a sink that remembers. */
import { EventEmitter, once } from 'node:events';
import { Redis } from 'ioredis';
import {
  createDualWriter,
  type DualWriter,
  type DualWriterOptions,
  type DualWriterStats,
} from '../../src/dual-write/dual-writer.js';
import type { RecordsLostError } from '../../src/dual-write/records/publisher.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { type RecordSink, RecordsRefusedError } from '../../src/events/record-sink.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { type RedisOptions, type RedisServer, startRedis } from '../support/redis.js';

/** Takes records as a log would; `broken` makes it refuse them. */
export class MemorySink extends EventEmitter implements RecordSink {
  readonly records: FailedWrite[] = [];
  readonly calls: number[] = [];
  broken = false;
  /** The key of records that are too large for it. */
  refuses: string | null = null;

  async publish(records: readonly FailedWrite[]): Promise<void> {
    this.calls.push(records.length);
    if (this.broken) throw new Error('the log is down');
    const refused = records.filter(({ key }) => key === this.refuses);
    this.records.push(...records.filter((record) => !refused.includes(record)));
    this.emit('published');
    if (refused.length > 0) throw new RecordsRefusedError('too large for the log', refused);
  }

  /** Waits until at least `count` records are there. */
  async have(count: number): Promise<FailedWrite[]> {
    while (this.records.length < count) await once(this, 'published');
    return this.records;
  }
}

export interface Bed {
  readonly source: RedisServer;
  readonly target: RedisServer;
  /** What the records of its writers say of link and application. */
  readonly names: { readonly link: string; readonly origin: string };
  /** Between the writer and the target. */
  readonly link: FaultProxy;
  readonly sink: MemorySink;
  readonly lost: RecordsLostError[];
  /** Those of this test. */
  readonly writers: readonly DualWriter[];
  /** A writer, ready on both sides, gone after the test. */
  writer(options?: WriterOptions): Promise<DualWriter>;
  /** Empties both servers, heals the link, forgets records and writers. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

export interface WriterOptions {
  readonly source?: {
    port?: number;
    protocol?: 2 | 3;
    keyPrefix?: string;
    enableAutoPipelining?: boolean;
    commandTimeout?: number;
    maxRetriesPerRequest?: number;
    retryStrategy?: () => number;
    autoResendUnfulfilledCommands?: boolean;
  };
  readonly timeoutMs?: number;
  /** Another way to the target than the faulty link. */
  readonly target?: { port: number };
  readonly records?: DualWriterOptions['records'];
  /** Whatever else shall differ from the defaults. */
  readonly more?: Pick<
    DualWriterOptions,
    'bounds' | 'breaker' | 'onUnrecorded' | 'failoverAfterMs' | 'transactional' | 'tracing'
  >;
}

/**
 * @param targetArguments, sourceArguments further arguments of the redis-server
 * @param options of both servers
 */
export async function startBed(
  targetArguments: readonly string[] = [],
  sourceArguments: readonly string[] = [],
  options: RedisOptions = {},
): Promise<Bed> {
  const [source, target] = await Promise.all([
    startRedis(sourceArguments, options),
    startRedis(targetArguments, options),
  ]);
  const link = await startProxy({ target: { host: '127.0.0.1', port: target.port } });
  const sink = new MemorySink();
  const lost: RecordsLostError[] = [];
  const clients: Redis[] = [];
  const writers: DualWriter[] = [];
  const names = { link: 'east-to-west', origin: 'test' };

  const disconnect = () => {
    for (const client of clients.splice(0)) client.disconnect();
  };
  return {
    source,
    target,
    names,
    link,
    sink,
    lost,
    writers,
    async writer({ timeoutMs = 2000, target: way = link, records = sink, source: options = {}, more = {} } = {}) {
      const sourceClient = new Redis({ host: '127.0.0.1', port: source.port, protocol: 2, ...options });
      const targetClient = new Redis(way.port, '127.0.0.1', {
        ...mirrorOptions(timeoutMs),
        retryStrategy: () => 20,
      });
      clients.push(sourceClient, targetClient);
      sourceClient.on('error', () => {});
      const writer = createDualWriter({
        ...names,
        source: sourceClient,
        target: targetClient,
        records,
        onError: (error) => lost.push(error),
        ...more,
      });
      writers.push(writer);
      await Promise.all([sourceClient, targetClient].map(ready));
      return writer;
    },
    async reset() {
      // A writer follows what the source did only after the application went on.
      await new Promise((resolve) => setImmediate(resolve));
      disconnect();
      link.restore();
      writers.length = 0;
      sink.records.length = 0;
      sink.calls.length = 0;
      sink.broken = false;
      lost.length = 0;
      await target.client.replicaof('NO', 'ONE');
      await Promise.all([source.client.flushall(), target.client.flushall()]);
    },
    async stop() {
      disconnect();
      await link.close();
      await Promise.all([source.stop(), target.stop()]);
    },
  };
}

/** Not `once` of node:events, which gives up at the first error: a client goes on trying. */
function ready(client: Redis): Promise<void> {
  return new Promise((resolve) => client.once('ready', () => resolve()));
}

/** Those that are due to more than a busy machine, which may hold up a time to live. */
export function unexpected(records: readonly FailedWrite[]): FailedWrite[] {
  return records.filter(({ error }) => error?.code !== 'EXPIRY_DRIFTED');
}

/**
 * Waits until the target has answered everything that was written, and the sink has taken or
 * refused what failed.
 */
export async function settled(writer: Pick<DualWriter, 'stats'>): Promise<void> {
  const busy = ({ inFlight, recording }: DualWriterStats) => inFlight + recording > 0;
  while (busy(writer.stats())) await new Promise((resolve) => setImmediate(resolve));
}
