/** What a bridge counts. */
import { Counter, Gauge } from 'prom-client';
import type { Metrics } from './metrics.js';

/** What became of a record: told to a workflow of its key, to one of a batch, or a dead letter. */
type Outcome = 'signalled' | 'batched' | 'dead_lettered';

/** Asked when somebody looks. */
interface BridgeNow {
  /** What waits, as far as the intake has said lately. */
  backlog(): { readonly records: number; readonly ageMs: number };
  isSurge(): boolean;
  openBatches(): number;
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
  gauge(
    'keymend_backlog_records',
    'About how many records wait in what this bridge reads.',
    () => now.backlog().records,
  );
  gauge('keymend_backlog_age_seconds', 'Age of the oldest record that waits.', () => now.backlog().ageMs / 1_000);
  gauge('keymend_surge', '1 while keys travel in batches because of the backlog.', () => Number(now.isSurge()));
  gauge('keymend_batches_open', 'Batches of keys under way, as far as this bridge knows.', now.openBatches);
  return {
    received: (records) => received.inc(records),
    ended: (outcome, records) => ended.inc({ outcome }, records),
    deadLettered: (reason) => metrics.deadLettered(reason),
    gapOpened: (cause) => gaps.inc({ cause }),
  };

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
}
