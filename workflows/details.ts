/** What the Web UI shows of a key as its current details: what happened, what was tried, what a person can do next. */
import type { ErrorType, KeyStatus } from './messages.js';

/** One next step for each way to fail. */
const NEXT_STEP: Record<ErrorType, string> = {
  TargetUnavailable: 'Check that the target Redis is up and reachable from the workers.',
  TargetReadOnly:
    'The target refuses writes: it is a replica. Point the link at the master, or wait for the failover to end.',
  TargetOutOfMemory: 'The target is at `maxmemory`. Free memory or raise the limit.',
  TargetLoading: 'The target is loading its data set. Wait until it is done.',
  SourceUnavailable: 'Check that the source Redis is up and reachable from the workers.',
  SourceSuspicious:
    'The source looks emptied, demoted or restarted, so nothing was deleted on the target. Check the source; if the delete is meant, `keymend reconcile KEY --allow-delete` or the signal `retry` with {"allowDelete": true}.',
  NoPermission:
    'The Redis user of this link lacks a right or its password is wrong. Correct it and restart the workers.',
  Contended: 'The key changes faster than it can be compared. Pause its writers for a moment, then retry.',
  Unsupported: 'Neither side can copy this value to the other. Copy it by hand, or skip it.',
};

/** The next step for an error type, one sentence. */
export function nextStep(type: string): string {
  return NEXT_STEP[type as ErrorType] ?? 'Read the message, mend the cause, then retry.';
}

/** Markdown for `setCurrentDetails`. */
export function describeStatus(status: KeyStatus): string {
  const lines = [
    `**${status.state}** · link \`${status.link}\``,
    '',
    `- failed writes pending: ${status.pending}${span(status)}`,
    `- attempts: ${status.attempts}`,
  ];
  if (status.lastOutcome !== null) lines.push(`- last outcome: ${status.lastOutcome}`);
  if (status.lastError !== null) {
    const { type, message, stage } = status.lastError;
    lines.push(`- last error: **${type}**${stage === null ? '' : ` while in stage ${stage}`}: ${message}`);
  }
  if (status.nextRetry !== null) lines.push(`- next try by itself: ${status.nextRetry}`);
  if (status.skipReason !== null) lines.push(`- skipped: ${status.skipReason}`);
  if (status.state === 'escalated') {
    lines.push(
      '',
      `**Next step:** ${nextStep(status.lastError?.type ?? '')}`,
      'Then send the signal `retry`. To give up on this key send `skip` with `{"reason": "…"}`.',
    );
  }
  return lines.join('\n');
}

function span({ firstFailedAt, lastFailedAt }: KeyStatus): string {
  if (firstFailedAt === null) return '';
  return firstFailedAt === lastFailedAt ? ` (at ${firstFailedAt})` : ` (from ${firstFailedAt} to ${lastFailedAt})`;
}
