/** What a message says, whatever its format. Pure. */
import { nextStep } from '../../workflows/error-types.js';
import { SEARCH_ATTRIBUTES } from '../../workflows/messages.js';
import type { Notice } from '../../workflows/notices-messages.js';
import { counted } from '../plural.js';

/** One sentence. */
export function titleOf(notice: Notice): string {
  const { link } = notice;
  if (notice.kind === 'escalations') {
    return `keymend: ${counted(notice.keys, 'key')} of link ${link} escalated: ${notice.errorType}`;
  }
  if (notice.until === null) return `keymend: ${notice.shard} of link ${link} does not answer`;
  return `keymend: ${notice.shard} of link ${link} answers again`;
}

/** What to do next; null: nothing. */
export function adviceOf(notice: Notice): string | null {
  if (notice.kind === 'escalations') return nextStep(notice.errorType);
  if (notice.until !== null) return null;
  return 'See why this server is away. Its keys wait, none of them fails, and they go on when it answers.';
}

/** The command that shows more; behind the mended cause also the one that tries again. */
export function commandsOf({ kind, link }: Notice): readonly string[] {
  if (kind === 'outage') return ['npx keymend status'];
  return [`npx keymend escalations --link ${link}`, `npx keymend retry --escalated --link ${link}`];
}

/** What finds these keys in the Web UI of Temporal; null: they are not escalated. */
export function queryOf(notice: Notice): string | null {
  if (notice.kind === 'outage') return null;
  const { link, state, error } = SEARCH_ATTRIBUTES;
  return `${state} = "escalated" AND ${error} = "${notice.errorType}" AND ${link} = "${notice.link}"`;
}

/** When it began and when the message was made necessary, ISO 8601. */
export function timesOf(notice: Notice): { readonly from: string; readonly to: string } {
  if (notice.kind === 'escalations') return { from: notice.firstAt, to: notice.lastAt };
  return { from: notice.since, to: notice.until ?? notice.since };
}
