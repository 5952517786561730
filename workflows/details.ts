/**
 * What the Web UI shows of a key as its current details: what happened, what was tried, what a
 * person can do next.
 */
import { nextStep } from './errors.js';
import type { KeyStatus } from './messages.js';

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
