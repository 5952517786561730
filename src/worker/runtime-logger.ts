/** The logs of the Temporal SDK, written by our logger. */
import { ApplicationFailure, type LogLevel, type LogMetadata, type Logger as TemporalLogger } from '@temporalio/common';
import type { Logger } from 'pino';

const LEVELS: Record<LogLevel, 'trace' | 'debug' | 'info' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
};

/** @param retried told of each call to Temporal that fails again and again */
export function runtimeLogger(logger: Logger, retried: () => void): TemporalLogger {
  const log = (level: LogLevel, message: string, meta?: LogMetadata) => {
    logger[LEVELS[level]](withoutStack(meta), message);
  };
  return {
    log,
    trace: (message, meta) => log('TRACE', message, meta),
    // The SDK tells of every workflow and activity that starts or ends at this level; at our scale
    // that is tracing.
    debug: (message, meta) => log('TRACE', message, meta),
    // "Worker state changed", "No Nexus services registered": of its inside.
    info: (message, meta) => log('DEBUG', message, meta),
    // One line for each failed attempt would be a flood in an outage; what fails for good is
    // escalated, and seen there.
    warn: (message, meta) => {
      const isRetry = meta?.target === 'temporalio_client::retry';
      if (isRetry) retried();
      log(isRetry || isFailedAttempt(message, meta) ? 'DEBUG' : 'WARN', message, meta);
    },
    error: (message, meta) => log('ERROR', message, meta),
  };
}

/**
 * An attempt that failed in one of the known ways; anything else, and a dead letter that can't be
 * published, is news.
 */
function isFailedAttempt(message: string, meta: LogMetadata = {}): boolean {
  const { activityType, error } = meta as { activityType?: string; error?: unknown };
  return message === 'Activity failed' && activityType === 'reconcile' && error instanceof ApplicationFailure;
}

/** A failed attempt is everyday news here: its type and line say all, its stack nothing. */
function withoutStack(meta: LogMetadata = {}): LogMetadata {
  const { error, taskToken: _taskToken, ...rest } = meta;
  if (!(error instanceof Error)) return rest;
  return { ...rest, error: { type: (error as { type?: string }).type ?? error.name, message: error.message } };
}
