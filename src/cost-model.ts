/**
 * What a failed key costs in each lane. docs/scale.md shows the same numbers; a test holds the two
 * together, and another compares the actions with what Temporal has counted.
 */

const LANES = ['key', 'batch', 'sweep'] as const;
type Lane = (typeof LANES)[number];

/**
 * Temporal's part. Actions are counted as Temporal Cloud counts them: a start, a signal with start,
 * a timer, a heartbeat, and all local activities of one workflow task are one each.
 */
export const TEMPORAL_COST = {
  /** A key by itself. */
  key: { refused: { transitions: 3, actions: 2 }, unknown: { transitions: 4, actions: 2 }, historyBytes: 4_096 },
  /** A whole batch; its history for each key. */
  batch: { refused: { transitions: 3, actions: 2 }, unknown: { transitions: 6, actions: 4 }, historyBytes: 300 },
  /**
   * A sweep with its one activity; then by time, for it tells how far it is: by two heartbeats a
   * second, so that a worker's death costs little, and about one signal a minute. Once it lists
   * more than so many keys it beats every 3 s, for its state has become large.
   */
  sweep: {
    transitions: 9,
    actions: 2,
    historyBytes: 4_096,
    perMinute: { transitions: 10, actions: 121 },
    large: { listed: 100, actions: 21 },
  },
} as const;

/** On average: a batch takes 1,000, but ends where what one fetch of the log has brought ends. */
export const KEYS_OF_A_BATCH = 850;

/** Operations on the target for a small key, as the budget counts them. */
export const KEY_OPERATIONS = { missing: 5, differs: 8 } as const;
/**
 * A sweep looks at what differs at several moments, and again `settle` later, before it is sure:
 * operations and bytes, for each key. Only comparisons of values are paid from the budget, two of
 * them: what the target lacks needs none.
 */
const SWEEP_LOOKS = { operations: 60, paid: { missing: 0, differs: 6 }, bytes: 1_000 };
/** On the wire of the target, for each key that is gone through: digests of pages. */
const SWEEP_PAGE_BYTES = 40;
/** To the target and from it, beside the value. */
const KEY_BYTES = 150;
/** What is larger is compared by digests, and so crosses the network once. */
const SMALL_VALUE_BYTES = 2_048;
/** Keys a second that a sweep goes through at its default intensity, about. */
const SWEEP_KEYS_PER_SECOND = 6_000;

export interface Workload {
  /** Failed keys, all different. */
  readonly keys: number;
  /** Of the whole link, for a sweep goes through all of them. */
  readonly keysInAll: number;
  readonly valueBytes: number;
  /** How the target has the keys. */
  readonly target: keyof typeof KEY_OPERATIONS;
  /** What is known of the failed writes. */
  readonly outcome: 'refused' | 'unknown';
  readonly budget: { readonly opsPerSecond: number; readonly bytesPerSecond: number };
  /** What Temporal does. */
  readonly transitionsPerSecond: number;
}

export interface Estimate {
  readonly lane: Lane;
  readonly workflows: number;
  readonly actions: number;
  readonly stateTransitions: number;
  readonly historyBytes: number;
  /** On the target. */
  readonly operations: number;
  /** To the target and from it. */
  readonly bytes: number;
  readonly minutes: number;
  /** What takes most of the time. */
  readonly boundBy: 'temporal' | 'opsPerSecond' | 'bytesPerSecond' | 'comparing';
}

export function estimate(workload: Workload): readonly Estimate[] {
  return LANES.map((lane) => ({ lane, ...BY_LANE[lane](workload) }));
}

type OfLane = Omit<Estimate, 'lane'>;

const BY_LANE: Readonly<Record<Lane, (workload: Workload) => OfLane>> = {
  key(workload) {
    const { transitions, actions } = TEMPORAL_COST.key[workload.outcome];
    return ofFailedWrites(workload, workload.keys, { transitions, actions }, TEMPORAL_COST.key.historyBytes);
  },
  batch(workload) {
    const { transitions, actions } = TEMPORAL_COST.batch[workload.outcome];
    const batches = Math.ceil(workload.keys / KEYS_OF_A_BATCH);
    return ofFailedWrites(workload, batches, { transitions, actions }, TEMPORAL_COST.batch.historyBytes);
  },
  sweep(workload) {
    const { keys, keysInAll } = workload;
    const operations = keys * (KEY_OPERATIONS[workload.target] + SWEEP_LOOKS.operations);
    const repairing = onTarget(workload, KEY_OPERATIONS[workload.target] + SWEEP_LOOKS.paid[workload.target]);
    const comparingSeconds = keysInAll / SWEEP_KEYS_PER_SECOND;
    const { transitions, actions, historyBytes, perMinute, large } = TEMPORAL_COST.sweep;
    const minutes = (comparingSeconds + repairing.seconds) / 60;
    const smallMinutes = minutes * Math.min(1, large.listed / keys);
    const beats = perMinute.actions * smallMinutes + large.actions * (minutes - smallMinutes);
    // What differs is handed over to batches, as writes of which nothing is in flight.
    const batches = BY_LANE.batch({ ...workload, outcome: 'refused' });
    return {
      workflows: 1 + batches.workflows,
      actions: batches.actions + Math.round(actions + beats),
      stateTransitions: batches.stateTransitions + Math.round(transitions + perMinute.transitions * minutes),
      historyBytes: historyBytes + batches.historyBytes,
      operations,
      bytes: repairing.bytes + keys * SWEEP_LOOKS.bytes + keysInAll * SWEEP_PAGE_BYTES,
      minutes,
      boundBy: comparingSeconds > repairing.seconds ? 'comparing' : repairing.boundBy,
    };
  },
};

function ofFailedWrites(
  workload: Workload,
  workflows: number,
  each: { transitions: number; actions: number },
  historyBytes: number,
): OfLane {
  const { operations, bytes, seconds, boundBy } = onTarget(workload, KEY_OPERATIONS[workload.target]);
  const stateTransitions = workflows * each.transitions;
  const temporalSeconds = stateTransitions / workload.transitionsPerSecond;
  return {
    workflows,
    actions: workflows * each.actions,
    stateTransitions,
    historyBytes: workload.keys * historyBytes,
    operations,
    bytes,
    minutes: Math.max(temporalSeconds, seconds) / 60,
    boundBy: temporalSeconds > seconds ? 'temporal' : boundBy,
  };
}

function onTarget({ keys, valueBytes, target, budget }: Workload, operationsEach: number) {
  const crossings = target === 'differs' && valueBytes <= SMALL_VALUE_BYTES ? 2 : 1;
  const operations = keys * operationsEach;
  const bytes = keys * (KEY_BYTES + crossings * valueBytes);
  const [byOperations, byBytes] = [operations / budget.opsPerSecond, bytes / budget.bytesPerSecond];
  const boundBy = byOperations >= byBytes ? 'opsPerSecond' : 'bytesPerSecond';
  return { operations, bytes, seconds: Math.max(byOperations, byBytes), boundBy } as const;
}
