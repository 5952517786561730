/** keymend's own format: fields are added to it, never taken away. */
import type { Notice } from '../../../workflows/notices-messages.js';
import { adviceOf, commandsOf, queryOf, titleOf } from '../wording.js';

export function asJson(notice: Notice): object {
  const { id, link, kind, ...more } = notice;
  return {
    specVersion: 1,
    id,
    kind,
    link,
    title: titleOf(notice),
    ...more,
    nextStep: adviceOf(notice),
    commands: commandsOf(notice),
    query: queryOf(notice),
  };
}
