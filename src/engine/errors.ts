/** Why a key could not be reconciled: a type for programs, a stage, and one line for a person. */
import type { ErrorType, Stage } from '../../workflows/messages.js';
import { explain, type RedisFailure } from '../redis/index.js';

export type Side = 'source' | 'target';

/** Whether trying again by itself can help. The others wait for a person. */
const RETRYABLE: Readonly<Record<ErrorType, boolean>> = {
  TargetUnavailable: true,
  TargetReadOnly: true,
  TargetOutOfMemory: true,
  TargetLoading: true,
  SourceUnavailable: true,
  Contended: true,
  SourceSuspicious: false,
  NoPermission: false,
  Unsupported: false,
};

/** The message says what, where and what to do next, in one line without any user value. */
export class ReconcileError extends Error {
  override readonly name = 'ReconcileError';
  readonly retryable: boolean;

  constructor(
    readonly type: ErrorType,
    readonly stage: Stage,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.retryable = RETRYABLE[type];
  }
}

/** What a code of Redis means on each side, where it is not simply unavailable. */
const TYPES: Readonly<Record<string, Readonly<Record<Side, ErrorType>>>> = {
  READONLY: { source: 'SourceSuspicious', target: 'TargetReadOnly' },
  NOTMASTER: { source: 'SourceSuspicious', target: 'TargetReadOnly' },
  OOM: { source: 'SourceUnavailable', target: 'TargetOutOfMemory' },
  LOADING: { source: 'SourceUnavailable', target: 'TargetLoading' },
  NOAUTH: { source: 'NoPermission', target: 'NoPermission' },
  WRONGPASS: { source: 'NoPermission', target: 'NoPermission' },
  NOPERM: { source: 'NoPermission', target: 'NoPermission' },
};

const UNREADABLE_PAYLOAD = /bad data format|DUMP payload version/i;

/** Texts behind the code ERR that no later attempt can change. */
const UNSUPPORTED: readonly { readonly text: RegExp; readonly explanation: string }[] = [
  {
    text: UNREADABLE_PAYLOAD,
    explanation:
      'cannot read the value as the other side dumped it: it lacks the module or the version for this type, and commands cannot build it; ' +
      'upgrade it, or copy this key by hand',
  },
  {
    text: /unknown (redis )?command/i,
    explanation: 'lacks a command that is needed to reconcile (DUMP, RESTORE, …); enable it there',
  },
];

/** Whether a target can't read a value as the source dumped it: then it may still be built by commands. */
export function refusesPayload(failure: RedisFailure): boolean {
  return failure.code === 'ERR' && UNREADABLE_PAYLOAD.test(failure.message);
}

/**
 * What a failure of one side means.
 * @param place how the message calls that Redis
 */
export function reconcileError(failure: RedisFailure, side: Side, stage: Stage, place: string): ReconcileError {
  const unsupported = UNSUPPORTED.find(({ text }) => failure.code === 'ERR' && text.test(failure.message));
  if (unsupported !== undefined) {
    return new ReconcileError('Unsupported', stage, `${place} ${unsupported.explanation}`, { cause: failure });
  }
  const unavailable: ErrorType = side === 'source' ? 'SourceUnavailable' : 'TargetUnavailable';
  const type = TYPES[failure.code]?.[side] ?? unavailable;
  return new ReconcileError(type, stage, `${place} ${explain(failure)}`, { cause: failure });
}
