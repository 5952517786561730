/** An intake on a real Kafka, with a handler and a keeper of gaps that the test stands for. */
import type { Kafka } from 'kafkajs';
import { onTestFinished } from 'vitest';
import type { Backlog, IntakeBatch } from '../../src/events/intake.js';
import { startKafkaIntake } from '../../src/kafka/intake.js';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { type BridgeBed, gate, loggerInto } from '../bridge/bridge-bed.js';

interface IntakeOptions {
  /** Resolves when a record may be accepted. By default all may, at once. */
  readonly mayAccept?: (id: string) => Promise<void>;
  /** Resolves when a gap is kept. By default all are, at once. */
  readonly keep?: (gap: NoticedGap) => Promise<void>;
  /** Instead of that of the bed. */
  readonly kafka?: Kafka;
}

/** Stops with the test, if not before. */
export async function startIntake(
  bed: BridgeBed,
  { mayAccept = async () => {}, keep = async () => {}, kafka = bed.kafka }: IntakeOptions = {},
) {
  /** Ids of the records that were handed out, in their order. */
  const handled: string[] = [];
  /** What waited when a batch was handed out. */
  const backlogs: Backlog[] = [];
  const gaps: NoticedGap[] = [];
  const over = gate();
  const handle = async ({ records, backlog, accepted }: IntakeBatch) => {
    backlogs.push(backlog);
    const ids = records.map(({ value }) => (JSON.parse(String(value)) as FailedWrite).id);
    handled.push(...ids);
    for (const [index, record] of records.entries()) {
      await Promise.race([mayAccept(ids[index]!), over.opened]);
      accepted(record);
    }
  };
  const onGap = async (gap: NoticedGap, signal: AbortSignal) => {
    gaps.push(gap);
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    await Promise.race([keep(gap), aborted]);
  };
  const logger = loggerInto(bed.logs);
  const intake = await startKafkaIntake({ kafka, config: bed.config.kafka, handle, logger, onGap, lookEveryMs: 500 });
  onTestFinished(() => {
    over.open();
    return intake.stop();
  });
  // A test that does not look at it must not fail because of it.
  intake.finished.catch(() => {});
  return { handled, backlogs, gaps, finished: intake.finished, stop: () => intake.stop() };
}
