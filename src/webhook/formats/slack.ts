/** A message for an incoming webhook of Slack. */
import type { Notice } from '../../../workflows/notices-messages.js';
import { adviceOf, commandsOf, timesOf, titleOf } from '../wording.js';

export function asSlack(notice: Notice): object {
  const { from, to } = timesOf(notice);
  const advice = adviceOf(notice);
  const lines = [
    `*${text(titleOf(notice))}*`,
    from === to ? `at ${from}` : `from ${from} to ${to}`,
    ...(notice.kind === 'escalations' ? [`Keys, for example: ${notice.examples.map(code).join(', ')}`] : []),
    ...(notice.kind === 'outage' ? [`Keys that wait, about: ${notice.keysWaiting}. ${text(notice.reason)}`] : []),
    ...(advice === null ? [] : [`*Next step:* ${text(advice)}`]),
    ...commandsOf(notice).map(code),
  ];
  // The first is what a notification shows.
  return {
    text: text(titleOf(notice)),
    blocks: [{ type: 'section', text: { type: 'mrkdwn', text: lines.join('\n').slice(0, LONGEST) } }],
  };
}

/** Slack takes 3,000 characters in one section. */
const LONGEST = 2_900;

/** These three are all that begins markup of links and mentions. */
function text(plain: string): string {
  return plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function code(plain: string): string {
  return `\`${text(plain).replaceAll('`', "'")}\``;
}
