/**
 * Why an attempt fails: the one table of what each error type means for the workflow and for a
 * person. The types are activity error types, so they are what the Web UI shows; docs/errors.md
 * has the same rows, which a test compares.
 */

interface Meaning {
  /** Trying again by itself can help. The others wait for a person, so they escalate at once. */
  readonly retryable: boolean;
  /** What is wrong, as the end of a sentence in the timeline of the Web UI. */
  readonly inShort: string;
  /** One or two sentences for the person who has to act. */
  readonly nextStep: string;
}

export const ERRORS = {
  TargetUnavailable: {
    retryable: true,
    inShort: 'the target does not answer',
    nextStep: 'Check that the target Redis is up and reachable from the workers.',
  },
  TargetReadOnly: {
    retryable: true,
    inShort: 'the target is read-only',
    nextStep:
      'The target refuses writes: it is a replica, or has too few of its own. Point the link at the master, or wait for the ' +
      'failover to end.',
  },
  TargetOutOfMemory: {
    retryable: true,
    inShort: 'the target has no memory left',
    nextStep: 'The target is at `maxmemory`. Free memory or raise the limit.',
  },
  TargetLoading: {
    retryable: true,
    inShort: 'the target is loading its data',
    nextStep: 'The target is loading its data set. Wait until it is done.',
  },
  SourceUnavailable: {
    retryable: true,
    inShort: 'the source does not answer',
    nextStep: 'Check that the source is up and reachable from the workers.',
  },
  SourceNotMaster: {
    retryable: true,
    inShort: 'the source is a replica',
    nextStep: 'The source is a replica. Point the link at the master, or wait for the failover to end.',
  },
  SourceSuspicious: {
    retryable: false,
    inShort: 'the source looks emptied',
    nextStep:
      'The source looks emptied or restarted, so nothing was deleted on the target. Check the source; if the delete is ' +
      'meant, `keymend reconcile KEY --allow-delete` or the signal `retry` with {"allowDelete": true}.',
  },
  NoPermission: {
    retryable: false,
    inShort: 'the Redis user lacks a right',
    nextStep:
      'The user of this link lacks a right, which the message names, or its password is wrong. Grant the right (`keymend acl ' +
      'print` lists all), or correct the password; unless it stands in a `passwordFile`, restart the workers then.',
  },
  Contended: {
    retryable: true,
    inShort: 'the key keeps changing',
    nextStep:
      'The key changes faster than it can be compared, or something else writes it on the target alone. Pause its writers for a ' +
      'moment, or end that one; then retry.',
  },
  ClockOffset: {
    retryable: true,
    inShort: "the target's clock is ahead",
    nextStep:
      "The target's clock is ahead of the source's by so much that the key would expire there long before its time. Set the clocks (NTP).",
  },
  Unsupported: {
    retryable: false,
    inShort: 'the value can not be copied',
    nextStep: 'Neither side can copy this value to the other. Copy it by hand, or skip it.',
  },
  AttemptLost: {
    retryable: true,
    inShort: 'the attempt was lost',
    nextStep: 'See whether the workers run and have time; if so, whether source and target answer quickly.',
  },
  // As the SDK names it, which says it for an attempt that could say nothing.
  WorkerShutdown: {
    retryable: true,
    inShort: 'its worker was stopped',
    nextStep: 'A worker was stopped while it tried the key for the last time; neither side is to blame. Retry.',
  },
  ReservedKey: {
    retryable: false,
    inShort: 'the key is of keymend itself',
    nextStep:
      'Keys under `keymend:` are of keymend itself and stay as they are. Skip it, and see who reports such keys.',
  },
  NoMapping: {
    retryable: false,
    inShort: 'no mapping takes the key',
    nextStep:
      'No mapping of the link takes this key, so nothing says which row it caches. Add a mapping and restart the workers, or skip the key.',
  },
  MappingFailed: {
    retryable: false,
    inShort: 'its mapping fails',
    nextStep:
      'The mapping of this key does not fit the database, or its function fails. Correct it and restart the workers.',
  },
  QueryFailed: {
    retryable: true,
    inShort: 'its query fails or is slow',
    nextStep:
      'The database answers, but not the query of this key: it takes too long, or fails. Look at its plan (EXPLAIN), correct the ' +
      'mapping or add an index, then retry.',
  },
  SeveralRows: {
    retryable: false,
    inShort: 'its query finds several rows',
    nextStep:
      'The query of the mapping finds several rows for one key. Compare a unique column in it and restart the workers.',
  },
  RowTooLarge: {
    retryable: false,
    inShort: 'its row makes too large a value',
    nextStep:
      'The row makes a value that is too large to be compared; what is cached was left as it is. Delete the key by hand, and cache less.',
  },
  UnknownLink: {
    retryable: true,
    inShort: 'the workers do not know the link',
    nextStep: "The workers' configuration lacks the link of this key. Add it and restart them, or skip the key.",
  },
} as const satisfies Record<string, Meaning>;

export type ErrorType = keyof typeof ERRORS;

/** The next step for an error type, also for one that keymend does not name. */
export function nextStep(type: string): string {
  return meaningOf(type)?.nextStep ?? 'Read the message, mend the cause, then retry.';
}

/**
 * What an error of this type says, as the end of a sentence. Bounded, also of one that keymend does
 * not name.
 */
export function inShort(type: string): string {
  return meaningOf(type)?.inShort ?? type.slice(0, 60);
}

/**
 * Whether an error of this type waits for a person: the same attempt, made again, would fail again.
 */
export function isPermanent(type: string): boolean {
  return meaningOf(type)?.retryable === false;
}

const SKIPPED: ReadonlySet<string> = new Set<ErrorType>(['Unsupported', 'ReservedKey', 'RowTooLarge']);

/** Whether a skip ends such an escalation: hardly anything makes another try succeed. */
export function isSkipped(type: string): boolean {
  return SKIPPED.has(type);
}

function meaningOf(type: string): Meaning | undefined {
  return Object.hasOwn(ERRORS, type) ? ERRORS[type as ErrorType] : undefined;
}
