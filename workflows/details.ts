/**
 * What the Web UI shows of a key as its current details: what a person can do next, what happened,
 * what was tried. Its box shows about ten lines and cuts the rest, so the next step comes first.
 */
import { commandFor } from './command-line.js';
import { type ErrorType, nextStep } from './error-types.js';
import type { KeyStatus, ShardOutage, Tried } from './messages.js';
import { describeSides } from './sides.js';

/** Markdown for `setCurrentDetails`. */
export function describeStatus(status: KeyStatus): string {
  const { state, link, lastError, lastOutcome, outage, nextRetry, skipReason } = status;
  const lines = state === 'escalated' ? runbook(status) : [`**${state}** · link ${asCode(link)}`, ''];
  if (lastError !== null) {
    const { type, message, stage } = lastError;
    lines.push(
      `- ${state === 'done' ? 'earlier' : 'last'} error: **${asText(type)}**${stage === null ? '' : ` while in stage ${stage}`}: ${asText(message)}`,
    );
  }
  if (outage !== null) lines.push(`- waits for ${asText(outageLine(outage))}`);
  if (nextRetry !== null) lines.push(`- next try by itself: ${nextRetry}`);
  lines.push(`- ${triedLine(status)}`, `- failed writes pending: ${status.pending}${span(status)}`);
  if (lastOutcome !== null) lines.push(`- last outcome: ${lastOutcome}`);
  if (skipReason !== null) lines.push(`- skipped: ${asText(skipReason)}`);
  if (state === 'escalated') lines.push(`- state: **escalated** · link ${asCode(link)}`);
  return lines.join('\n');
}

/** What to do, and what the two sides have: the first lines. */
function runbook({ lastError, link, sides, ...key }: KeyStatus): string[] {
  const type = lastError?.type ?? '';
  const again = type === ('SourceSuspicious' satisfies ErrorType) ? 'reconcile --allow-delete' : 'retry';
  return [
    `**${type === '' ? '' : `${asText(type)}. `}Next step:** ${nextStep(type)}`,
    '',
    `Then send the signal \`retry\`, or in a terminal: \`${commandFor(again, link, key)}\``,
    '',
    `To give up on this key send \`skip\` with \`{"reason": "…"}\`, or: \`${commandFor('skip --reason WHY', link, key)}\``,
    '',
    ...(sides == null ? [] : [`- **${asText(describeSides(sides))}** (seen ${sides.at})`]),
  ];
}

function triedLine({ attempts, tried = [] }: KeyStatus): string {
  if (tried.length === 0) return `attempts: ${attempts}`;
  return `tried: ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}; ${tried.map(describeTried).join('; ')}`;
}

function describeTried({ type, attempts, from, to }: Tried): string {
  return `${asText(type)} ${attempts} times, ${from} to ${to}`.replace(/ 1 times, .* to /, ' once, ');
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
export function seen(text: string): string {
  return text
    .replace(/[\s\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, (character) => `U+${character.codePointAt(0)!.toString(16).toUpperCase()}`);
}

function span({ pending, firstFailedAt, lastFailedAt }: KeyStatus): string {
  if (firstFailedAt === null || pending === 0) return '';
  return firstFailedAt === lastFailedAt ? ` (at ${firstFailedAt})` : ` (from ${firstFailedAt} to ${lastFailedAt})`;
}
