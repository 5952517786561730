/**
 * Where a group was, kept until it goes on. Of a partition whose next record is gone kafkajs
 * commits at once that the group is nowhere, and reads on from the oldest record: a bridge that
 * then ended before the gap was told of would leave nothing that shows it to the next one. So
 * what kafkajs does there is replaced by the reading on alone.
 */
import { createRequire } from 'node:module';

type Offsets = Record<string, Record<number, string>>;

/** What is used of kafkajs beneath its types. */
interface OffsetManager {
  readonly cluster: {
    fetchTopicsOffset(topics: readonly object[]): Promise<{ partitions: { offset: string }[] }[]>;
  };
  readonly resolvedOffsets: Offsets;
  committedOffsets(): Offsets;
}
interface Place {
  readonly topic: string;
  readonly partition: number;
}

const OFFSET_MANAGER = 'kafkajs/src/consumer/offsetManager';

/** Once for the whole process, for every consumer in it, whenever that was made. */
export function keepCommittedOffset(): void {
  const { prototype } = createRequire(import.meta.url)(OFFSET_MANAGER);
  prototype.setDefaultOffset = goToOldest;
}

/** It is committed with the first record that is accepted from there on. */
async function goToOldest(this: OffsetManager, { topic, partition }: Place): Promise<void> {
  const [oldest] = await this.cluster.fetchTopicsOffset([{ topic, partitions: [{ partition }], fromBeginning: true }]);
  // What it takes for committed it does not commit; it asks for what is behind the resolved ones.
  delete this.resolvedOffsets[topic]![partition];
  this.committedOffsets()[topic]![partition] = oldest!.partitions[0]!.offset;
}
