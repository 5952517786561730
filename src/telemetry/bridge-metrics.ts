/** What a bridge counts. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Metrics } from './metrics.js';

/** What became of a record: told to a workflow of its key, to one of a batch, or a dead letter. */
type Outcome = 'signalled' | 'batched' | 'dead_lettered';

/** What does not answer is left out. */
export interface Standing {
  readonly temporal: {
    readonly byType: Readonly<Record<string, number>>;
    /** null: the server can't say. */
    readonly escalated: number | null;
    readonly oldestRepairMs: number;
  } | null;
  /** Entries, by link. */
  readonly outboxes: ReadonlyMap<string, number>;
  /** Distinct keys of the last day, by link. */
  readonly failingKeys: ReadonlyMap<string, number>;
}

/** Asked when somebody looks. */
interface BridgeNow {
  /** What waits, as far as the intake has said lately. */
  backlog(): { readonly records: number; readonly ageMs: number };
  isReading(): boolean;
  isSurge(): boolean;
  openBatches(): number;
  standing(): Promise<Standing>;
}

export interface BridgeMetrics {
  received(records: number): void;
  ended(outcome: Outcome, records: number): void;
  deadLettered: Metrics['deadLettered'];
  gapOpened(cause: string): void;
}

export function bridgeMetrics(metrics: Metrics, now: BridgeNow): BridgeMetrics {
  const registers = [metrics.registry];
  const received = new Counter({
    name: 'keymend_records_received_total',
    help: 'Records of failed writes that the bridge was handed; one that came again counts again.',
    registers,
  });
  const ended = new Counter({
    name: 'keymend_records_total',
    help: 'Records of failed writes that the bridge is done with, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  // From the beginning: a rate from nothing to one is none.
  for (const outcome of ['signalled', 'batched', 'dead_lettered'] satisfies Outcome[]) ended.inc({ outcome }, 0);
  const gaps = new Counter({
    name: 'keymend_gaps_total',
    help: 'Times that failed writes were found to be lost, by cause.',
    labelNames: ['cause'],
    registers,
  });
  standing(registers, now);
  // Of what can't be read nothing is heard, which is not that nothing waits.
  const waits = () => {
    const backlog = now.backlog();
    return backlog.records > 0 || now.isReading() ? backlog : null;
  };
  gauge('keymend_intake_reads', '1 while this bridge can read failed writes.', () => Number(now.isReading()));
  gauge(
    'keymend_backlog_records',
    'About how many records wait in what this bridge reads.',
    () => waits()?.records ?? null,
  );
  gauge('keymend_backlog_age_seconds', 'Age of the oldest record that waits.', () => {
    const backlog = waits();
    return backlog && backlog.ageMs / 1_000;
  });
  gauge('keymend_surge', '1 while keys travel in batches because of the backlog.', () => Number(now.isSurge()));
  gauge('keymend_batches_open', 'Batches of keys under way, as far as this bridge knows.', now.openBatches);
  return {
    received: (records) => received.inc(records),
    ended: (outcome, records) => ended.inc({ outcome }, records),
    deadLettered: (reason) => metrics.deadLettered(reason),
    gapOpened: (cause) => gaps.inc({ cause }),
  };

  /** @param read null: there is no line, for NaN would spoil a sum over the bridges */
  function gauge(name: string, help: string, read: () => number | null): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = read();
        if (value === null) this.remove();
        else this.set(value);
      },
    });
  }
}

/** Of what is not known there is no line, or NaN where there are no labels. */
function standing(registers: Registry[], now: BridgeNow): void {
  labelled('keymend_workflows_open', 'Open workflows in Temporal, by type.', 'type', ({ temporal }) =>
    Object.entries(temporal?.byType ?? {}),
  );
  labelled(
    'keymend_outbox_records',
    'Entries of the outbox on the source of a link.',
    'link',
    ({ outboxes }) => outboxes,
  );
  labelled(
    'keymend_failing_keys',
    'About how many distinct keys of a link failed in the last day.',
    'link',
    ({ failingKeys }) => failingKeys,
  );
  plain('keymend_keys_escalated', 'Keys that wait for somebody.', ({ temporal }) => temporal?.escalated);
  plain(
    'keymend_oldest_repair_seconds',
    'For how long the oldest workflow of a key that is not escalated, or of a batch of keys, has been open.',
    ({ temporal }) => temporal && temporal.oldestRepairMs / 1_000,
  );
  plain('keymend_temporal_answers', '1 while Temporal answers this bridge.', ({ temporal }) =>
    Number(temporal !== null),
  );

  function labelled(
    name: string,
    help: string,
    label: 'type' | 'link',
    read: (standing: Standing) => Iterable<readonly [string, number]>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers,
      async collect() {
        const rows = read(await now.standing());
        this.reset();
        for (const [value, count] of rows) this.set({ [label]: value }, count);
      },
    });
  }

  function plain(name: string, help: string, read: (standing: Standing) => number | null | undefined): void {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(read(await now.standing()) ?? Number.NaN);
      },
    });
  }
}
