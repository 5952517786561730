/** The logs of the Temporal SDK, written by our logger. */
import {
  ApplicationFailure,
  type LogLevel,
  type LogMetadata,
  TemporalFailure,
  type Logger as TemporalLogger,
} from '@temporalio/common';
import type { Logger } from 'pino';
import { errorText } from '../temporal/error-text.js';

/**
 * The SDK's words in ours. Of its inside ("Worker state changed", "No Nexus services registered")
 * nobody wants to read every day, and it tells of every workflow and activity that starts or ends
 * as DEBUG: at our scale that is tracing.
 */
const LEVELS: Record<LogLevel, 'trace' | 'debug' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'trace',
  INFO: 'debug',
  WARN: 'warn',
  ERROR: 'error',
};

/** @param retried told of each call to Temporal that fails again and again */
export function runtimeLogger(logger: Logger, retried: () => void): TemporalLogger {
  // What comes from the core of the SDK comes through `log`, the rest through the others.
  const log = (level: LogLevel, message: string, meta?: LogMetadata) => {
    const isRetry = level === 'WARN' && meta?.target === 'temporalio_client::retry';
    if (isRetry) retried();
    // One line for each failed attempt would be a flood in an outage; what fails for good is
    // escalated, and seen there.
    const isNews = !(isRetry || (level === 'WARN' && isFailedAttempt(message, meta)));
    logger[isNews ? LEVELS[level] : 'debug'](fieldsOf(meta), message);
  };
  return {
    log,
    trace: (message, meta) => log('TRACE', message, meta),
    debug: (message, meta) => log('DEBUG', message, meta),
    info: (message, meta) => log('INFO', message, meta),
    warn: (message, meta) => log('WARN', message, meta),
    error: (message, meta) => log('ERROR', message, meta),
  };
}

/**
 * An attempt that failed in one of the known ways; anything else, and a dead letter that can't be
 * published, is news.
 */
function isFailedAttempt(message: string, meta: LogMetadata = {}): boolean {
  const { activityType, error } = meta as { activityType?: string; error?: unknown };
  return message === 'Activity failed' && TRIED_AGAIN.has(activityType ?? '') && error instanceof ApplicationFailure;
}

/** An outage is told of at its beginning and its end. */
const TRIED_AGAIN: ReadonlySet<string> = new Set(['reconcile', 'answers']);

/** In none of them is a key, but for workflow IDs, which `tracing.privacy` knows. */
const FIELDS = [
  ...['namespace', 'taskQueue', 'workflowId', 'workflowType', 'runId', 'activityId', 'activityType', 'attempt'],
  // As the core writes them.
  ...['task_queue', 'workflow_id', 'workflow_type', 'run_id', 'activity_id', 'activity_type'],
  ...['sdkComponent', 'target', 'isLocal', 'state'],
];

/** Failures made by us or by the SDK alone, and bugs, whose words are those of the engine. */
const OURS = [TemporalFailure, TypeError, ReferenceError, RangeError];

/**
 * A failed attempt is everyday news here: its type and line say all, its stack nothing. Whatever
 * else there is may be what the SDK and its server tell each other, payloads and keys in it; so may
 * be the words of an error that is the client's.
 */
function fieldsOf(meta: LogMetadata = {}): LogMetadata {
  const fields = Object.fromEntries(FIELDS.flatMap((name) => (name in meta ? [[name, meta[name]]] : [])));
  const { error } = meta;
  if (!(error instanceof Error)) return fields;
  const isOurs = OURS.some((kind) => error instanceof kind);
  const message = isOurs ? error.message : errorText(error);
  return { ...fields, error: { type: (error as { type?: string }).type ?? error.name, message } };
}
