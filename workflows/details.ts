/**
 * What the Web UI shows of a key as its current details: what happened, what was tried, what a
 * person can do next.
 */
import { nextStep } from './error-types.js';
import type { KeyStatus, ShardOutage } from './messages.js';

/** Markdown for `setCurrentDetails`. */
export function describeStatus(status: KeyStatus): string {
  const lines = [
    `**${status.state}** · link ${asCode(status.link)}`,
    '',
    `- failed writes pending: ${status.pending}${span(status)}`,
    `- attempts: ${status.attempts}`,
  ];
  if (status.lastOutcome !== null) lines.push(`- last outcome: ${status.lastOutcome}`);
  if (status.lastError !== null) {
    const { type, message, stage } = status.lastError;
    lines.push(
      `- ${status.state === 'done' ? 'earlier' : 'last'} error: **${asText(type)}**${stage === null ? '' : ` while in stage ${stage}`}: ${asText(message)}`,
    );
  }
  if (status.outage !== null) lines.push(`- waits for ${asText(outageLine(status.outage))}`);
  if (status.nextRetry !== null) lines.push(`- next try by itself: ${status.nextRetry}`);
  if (status.skipReason !== null) lines.push(`- skipped: ${asText(status.skipReason)}`);
  if (status.state === 'escalated') {
    lines.push(
      '',
      `**Next step:** ${nextStep(status.lastError?.type ?? '')}`,
      'Then send the signal `retry`. To give up on this key send `skip` with `{"reason": "…"}`.',
    );
  }
  return lines.join('\n');
}

export function outageLine({ shard, since }: ShardOutage): string {
  return `${shard} (no answer since ${since})`;
}

/**
 * Text for Markdown that shows as it is, in one line: what others wrote may not be a link, an image
 * or markup of ours.
 */
export function asText(text: string): string {
  return (
    seen(text)
      .replace(/[\\`*{}[\]<>#|~!&@]/g, '\\$&')
      // Within a word it is nothing special.
      .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '\\_')
      // Addresses become links by themselves.
      .replace(/:(?=\S)/g, '\\:')
      .replace(/(www)\./gi, '$1\\.')
      // As the first of a line it begins a list.
      .replace(/^(\d*)([-+.)])/, '$1\\$2')
  );
}

/** The same as code. */
function asCode(text: string): string {
  return `\`${seen(text).replaceAll('`', "'")}\``;
}

/** In one line, with the code points of what would not be seen. */
function seen(text: string): string {
  return text
    .replace(/[\s\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, (character) => `U+${character.codePointAt(0)!.toString(16).toUpperCase()}`);
}

function span({ pending, firstFailedAt, lastFailedAt }: KeyStatus): string {
  if (firstFailedAt === null || pending === 0) return '';
  return firstFailedAt === lastFailedAt ? ` (at ${firstFailedAt})` : ` (from ${firstFailedAt} to ${lastFailedAt})`;
}
