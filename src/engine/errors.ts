/**
 * Why a key could not be reconciled: a type for programs, a stage, and one line for a person. What
 * a type means for the workflow and what to do next is in workflows/error-types.ts: a new one
 * begins there.
 */
import { OWN_KEY_REFUSED } from '../own-keys.js';
import { explain, type RedisFailure } from '../redis/index.js';

export type Side = 'source' | 'target';

/** The step of the protocol at which an attempt failed. */
export type Stage = 'read' | 'compare' | 'write' | 'verify';

export type ReconcileErrorType =
  | 'TargetUnavailable'
  | 'TargetReadOnly'
  | 'TargetOutOfMemory'
  | 'TargetLoading'
  | 'SourceUnavailable'
  /** What is read there may be old. */
  | 'SourceNotMaster'
  /** The source looks as if it had lost its data: what it lacks proves nothing. */
  | 'SourceSuspicious'
  | 'NoPermission'
  /** The key kept changing. */
  | 'Contended'
  /** By the target's clock the key would be gone long before its time. */
  | 'ClockOffset'
  /** No later attempt can bring the value over. */
  | 'Unsupported'
  /** The key is one of keymend's own. */
  | 'ReservedKey'
  /** The source is a database, and no mapping of the link says which row the key caches. */
  | 'NoMapping'
  /** The mapping of the key can't be followed: its query, its columns, its function. */
  | 'MappingFailed'
  /** The database answers, but not the query of this key. */
  | 'QueryFailed'
  /** The query of the mapping finds several rows. */
  | 'SeveralRows'
  /** What the row says is more than is compared or written at once. */
  | 'RowTooLarge';

/** The message says what, where and what to do next, in one line without any user value. */
export class ReconcileError extends Error {
  override readonly name = 'ReconcileError';

  constructor(
    readonly type: ReconcileErrorType,
    readonly stage: Stage,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The end of a key of our own: nothing was looked at. */
export function reservedKey(): { readonly outcome: 'failed'; readonly error: ReconcileError } {
  return { outcome: 'failed', error: new ReconcileError('ReservedKey', 'read', OWN_KEY_REFUSED) };
}

/** What a code of Redis means on each side, where it is not simply unavailable. */
const TYPES: Readonly<Record<string, Readonly<Record<Side, ReconcileErrorType>>>> = {
  READONLY: { source: 'SourceNotMaster', target: 'TargetReadOnly' },
  NOTMASTER: { source: 'SourceNotMaster', target: 'TargetReadOnly' },
  NOREPLICAS: { source: 'SourceUnavailable', target: 'TargetReadOnly' },
  MASTERDOWN: { source: 'SourceNotMaster', target: 'TargetUnavailable' },
  OOM: { source: 'SourceUnavailable', target: 'TargetOutOfMemory' },
  LOADING: { source: 'SourceUnavailable', target: 'TargetLoading' },
  NOAUTH: { source: 'NoPermission', target: 'NoPermission' },
  WRONGPASS: { source: 'NoPermission', target: 'NoPermission' },
  NOPERM: { source: 'NoPermission', target: 'NoPermission' },
  DBDENIED: { source: 'NoPermission', target: 'NoPermission' },
  NOMAPPING: { source: 'NoMapping', target: 'NoMapping' },
  MAPPING: { source: 'MappingFailed', target: 'MappingFailed' },
  QUERYFAILED: { source: 'QueryFailed', target: 'QueryFailed' },
  SEVERALROWS: { source: 'SeveralRows', target: 'SeveralRows' },
  OLDROW: { source: 'SourceNotMaster', target: 'SourceNotMaster' },
  ROWTOOLARGE: { source: 'RowTooLarge', target: 'RowTooLarge' },
};

const REFUSED_VERSION = /DUMP payload version/i;
const UNREADABLE_PAYLOAD = /bad data format|DUMP payload version/i;

/** What commands say of an argument that no command lets in. */
const REFUSED_CONTENT =
  /not a valid float|not a number \(NaN\)|not an integer or out of range|ID specified in X|Invalid stream ID|invalid expire time/i;

/** What no later attempt can change. */
const UNSUPPORTED: readonly {
  readonly when: (failure: RedisFailure) => boolean;
  readonly explanation: string | ((failure: RedisFailure) => string);
}[] = [
  {
    when: (failure) => failure.code === 'NORECIPE' || refusesPayload(failure),
    explanation:
      'cannot read the value as the other side dumped it: it lacks the module or the version for this type, and commands cannot build it; ' +
      'upgrade it, or copy this key by hand',
  },
  {
    when: ({ code }) => code === 'TOOBIG',
    explanation: ({ message }) =>
      'takes no argument as long as a part of this value; ' +
      `raise its ${/client-query-buffer-limit/.exec(message)?.[0] ?? 'proto-max-bulk-len'}, then try again`,
  },
  {
    when: ({ message }) => REFUSED_CONTENT.test(message),
    explanation:
      'refuses what the value holds, as no command can have written it (a score that is no number, an ID that is none): it comes from a ' +
      'damaged or crafted payload; mend the value on the source',
  },
  {
    when: ({ code }) => code === 'INCOMPARABLE',
    explanation:
      'dumps one and the same value of this type (a module’s) each time otherwise, so it is not comparable: it may be equal by now; ' +
      'compare it by hand with commands of the module, then skip it',
  },
  {
    when: ({ code }) => code === 'LARGEDUMP',
    explanation:
      'has a value of a type that only DUMP can read (a module’s, or a newer one), all of it at once, and that is larger than ' +
      'largeValues.bytes of the link: that would hold the server for long; copy this key by hand (DUMP, RESTORE), then skip it',
  },
  {
    when: ({ code }) => code === 'NOFIELDEXPIRY',
    explanation:
      'is too old for a hash in which single fields expire; upgrade it (Redis 7.4, Valkey 9), or take the expiry from these fields ' +
      'on the source (HPERSIST)',
  },
  {
    when: ({ code }) => code === 'ONEPIECE',
    explanation:
      'keeps this value in one piece that is too large to be read without holding the server for long; lower the setting of its encoding ' +
      'there (hash-max-listpack-entries, zset-max-listpack-entries, set-max-intset-entries), and add and remove one member so that it takes effect',
  },
  {
    when: ({ code }) => code === 'MANYGROUPS',
    explanation:
      'has more than 5,000 consumers and groups on this stream, which Redis tells only all at once; delete those that are idle there ' +
      '(XINFO CONSUMERS, XGROUP DELCONSUMER), or copy this key by hand',
  },
  {
    when: ({ code }) => code === 'NOTREDIS',
    explanation: 'is a database; what was asked for is for links of two Redis',
  },
  {
    when: ({ code, message }) => code === 'ERR' && /unknown (redis )?(sub)?command/i.test(message),
    explanation: ({ refused }) =>
      `lacks a command that is needed to reconcile (${refused.command ?? 'one of a script'}); enable it there`,
  },
];

/**
 * Whether a target can't read a value as the source dumped it: then it may still be built by
 * commands.
 */
export function refusesPayload(failure: RedisFailure): boolean {
  return failure.code === 'ERR' && UNREADABLE_PAYLOAD.test(failure.message);
}

/**
 * Whether it would refuse every other value of that source too: it is the version that it can't
 * read, and not this one value.
 */
export function refusesVersion(failure: RedisFailure): boolean {
  return failure.code === 'ERR' && REFUSED_VERSION.test(failure.message);
}

/**
 * What a failure of one side means.
 * @param ofSide how the message calls that Redis, unless the failure names one of its servers
 */
export function reconcileError(failure: RedisFailure, side: Side, stage: Stage, ofSide: string): ReconcileError {
  const place = failure.place ?? ofSide;
  const unsupported = UNSUPPORTED.find(({ when }) => when(failure));
  if (unsupported !== undefined) {
    const { explanation } = unsupported;
    const text = typeof explanation === 'string' ? explanation : explanation(failure);
    return new ReconcileError('Unsupported', stage, `${place} ${text}`, { cause: failure });
  }
  const unavailable: ReconcileErrorType = side === 'source' ? 'SourceUnavailable' : 'TargetUnavailable';
  const type = TYPES[failure.code]?.[side] ?? unavailable;
  return new ReconcileError(type, stage, `${place} ${explain(failure)}`, { cause: failure });
}
