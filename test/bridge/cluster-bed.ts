/** An outbox on a Cluster of its own, what writes it and what reads it. */
import { Cluster } from 'ioredis';
import { onTestFinished } from 'vitest';
import type { BatchHandler } from '../../src/events/intake.js';
import { clusterStreams } from '../../src/outbox/cluster-streams.js';
import { createOutboxIntake } from '../../src/outbox/intake.js';
import { createOutbox } from '../../src/outbox/record-sink.js';
import { slotOf } from '../../src/redis/index.js';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { type ClusterShape, startCluster } from '../support/cluster.js';
import { failedWrite, type LogLine, loggerInto } from './bridge-bed.js';

export const STREAMS = clusterStreams('keymend:outbox');

/** Cleans up after the test that calls it. */
export async function clusterBed(shape: ClusterShape = {}) {
  const cluster = await startCluster(3, shape);
  const outbox = createOutbox({ client: new Cluster([...cluster.seeds], { lazyConnect: true }) });
  const logs: LogLine[] = [];
  const gaps: NoticedGap[] = [];
  const intakes: ReturnType<typeof createOutboxIntake>[] = [];
  onTestFinished(async () => {
    for (const node of cluster.nodes) node.thaw();
    await Promise.all(intakes.map((intake) => intake.stop()));
    await outbox.close();
    await cluster.stop();
  });

  const bed = {
    cluster,
    outbox,
    logs,
    gaps,
    endpoint: { cluster: cluster.nodes.map(({ url }) => url) },
    warnings: () => logs.filter(({ level }) => level >= 40).map(({ msg }) => msg),

    masterOfStream: (stream: string) => cluster.masterOf(slotOf(Buffer.from(stream))),

    start(handle: BatchHandler) {
      const source = { endpoint: bed.endpoint, name: 'source of link l', links: ['l'] };
      const options = { source, key: 'keymend:outbox', group: 'keymend-bridge', logger: loggerInto(logs) };
      const intake = createOutboxIntake({
        ...options,
        handle,
        putsAside: true,
        onGap: async (gap) => void gaps.push(gap),
      });
      intakes.push(intake);
      intake.start();
      return intake;
    },

    /** Entries that the streams hold, each asked for where it is now. */
    async waiting(): Promise<number> {
      const lengths = await Promise.all(STREAMS.map((stream) => cluster.client.xlen(stream)));
      return lengths.reduce((sum, length) => sum + length);
    },
  };
  return bed;
}

/** @returns failed writes of so many keys in turn, with the ids w0, w1, … */
export function writesOf(keys: number, count: number, from = 0): FailedWrite[] {
  return Array.from({ length: count }, (_, index) =>
    failedWrite({ link: 'l', id: `w${from + index}`, key: `k${(from + index) % keys}` }),
  );
}

/** The ids of each key, in their order. */
export function idsByKey(events: readonly Pick<FailedWrite, 'id' | 'key'>[]): Map<string, string[]> {
  const ids = new Map<string, string[]>();
  for (const { id, key } of events) ids.set(key, [...(ids.get(key) ?? []), id]);
  return ids;
}
