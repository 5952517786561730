/** The outbox of a source as one intake, of however many streams it consists. */
import type { Logger } from 'pino';
import type { BatchHandler, Intake, Reading } from '../events/intake.js';
import { Aside } from '../patience/aside.js';
import { Outage } from '../patience/outage.js';
import { shareOutage } from '../patience/shared-outage.js';
import { connectKeyServers } from '../redis/index.js';
import { type OnGap, tellingOfDeleted } from './deleted.js';
import { type OutboxSource, streamsOf } from './sources.js';
import { createStreamIntake } from './stream-intake.js';

interface OutboxIntakeOptions {
  readonly source: OutboxSource;
  /** `stream.key` of keymend.yaml. */
  readonly key: string;
  readonly group: string;
  /** Called for each stream on its own: for several at once. */
  readonly handle: BatchHandler;
  /**
   * Whether `handle` may be called for a stream while a batch of it that does not get on is in hand
   * still. Else what is behind it waits.
   */
  readonly putsAside: boolean;
  /** Told when the outbox was deleted. Nothing more of its stream is read before it resolves. */
  readonly onGap: OnGap;
  /** The release, which the group is told; absent: it is not. */
  readonly version?: string | undefined;
  readonly logger: Logger;
}

/**
 * With 500 entries each, of all streams of a source. A key that keeps failing is waited for up to
 * two seconds.
 */
const ASIDE = { getsOnWithinMs: 250, most: 8 };

export interface OutboxIntake extends Intake, Reading {
  /** Rejects with one line when the source does not answer. */
  check(): Promise<void>;
  /** Starts to hand out batches. */
  start(): void;
}

/** Each stream is read by itself, so that a master that is away holds up nothing of the others. */
export function createOutboxIntake(options: OutboxIntakeOptions): OutboxIntake {
  const { source, key, group, handle, putsAside, onGap, version, logger } = options;
  const servers = connectKeyServers(source.endpoint, { name: source.name });
  const outage = new Outage(logger, `${key} at ${servers.place} cannot be read`);
  const reportOutage = shareOutage(outage);
  const streams = streamsOf(source, key);
  const stopping = new AbortController();
  const aside = putsAside ? new Aside({ ...ASIDE, isStopping: () => stopping.signal.aborted }) : undefined;
  const what = `${streams.length > 1 ? 'a part of ' : ''}${key} at ${servers.place}`;
  const onDeleted = tellingOfDeleted(what, onGap, stopping.signal);
  const intakes = streams.map((stream) =>
    createStreamIntake({
      servers,
      stream,
      group,
      handle,
      aside,
      version,
      onDeleted,
      outage: reportOutage(),
      logger,
    }),
  );
  const finished = Promise.all(intakes.map((intake) => intake.finished))
    .then(() => {})
    .finally(() => servers.close());
  return {
    finished,
    isReading: () => !outage.isOn,
    check: () => servers.check(),
    start() {
      for (const intake of intakes) intake.start();
    },
    async stop() {
      stopping.abort();
      await Promise.all(intakes.map((intake) => intake.stop()));
      await finished;
    },
  };
}
