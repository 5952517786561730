/**
 * What the Web UI shows of a key as its current details: what a person can do next, what happened,
 * what was tried. Its box shows about ten lines and cuts the rest, so the next step comes first.
 */
import { commandFor } from './command-line.js';
import { type ErrorType, isSkipped, nextStep } from './error-types.js';
import type { EncodedKey, KeyStatus, ShardOutage, Tried } from './messages.js';
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
function runbook({ sides, ...status }: KeyStatus): string[] {
  const type = status.lastError?.type ?? '';
  const { retry, skip, delete: vouched } = commandsFor(status);
  const again = `send the signal \`retry\`, or in a terminal: \`${retry}\``;
  const giveUp = `send \`skip\` with \`{"reason": "…"}\`, or: \`${skip}\``;
  return [
    `**${type === '' ? '' : `${asText(type)}. `}Next step:** ${nextStep(type)}`,
    '',
    ...(isSkipped(type)
      ? [`Then ${giveUp}`, '', `To try again ${again}`]
      : [`Then ${again}`, '', `To give up on this key ${giveUp}`]),
    ...(type === ('SourceSuspicious' satisfies ErrorType) ? ['', `If the delete is meant: \`${vouched}\``] : []),
    '',
    ...(sides == null ? [] : [`- **${asText(describeSides(sides))}** (seen ${sides.at})`]),
  ];
}

/** For a terminal: what tries the key once more, gives up on it, or lets it be deleted. */
export function commandsFor({ link, ...key }: Pick<KeyStatus, 'link' | keyof EncodedKey>) {
  const command = (verb: string) => commandFor(verb, link, key);
  return { retry: command('retry'), skip: command('skip --reason WHY'), delete: command('reconcile --allow-delete') };
}

function triedLine({ attempts, tried = [] }: KeyStatus): string {
  if (tried.length === 0) return `attempts: ${attempts}`;
  return `tried: ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}; ${tried.map((each) => describeTried({ ...each, type: asText(each.type) })).join('; ')}`;
}

/** One line. */
export function describeTried({ type, attempts, from, to }: Tried): string {
  return `${type} ${attempts} times, ${from} to ${to}`.replace(/ 1 times, .* to /, ' once, ');
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
