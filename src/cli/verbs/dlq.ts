/** `keymend dlq group` and `keymend dlq list` */
import { grouped, type LetterGroups } from '../../dead-letters/groups.js';
import { counted } from '../../plural.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { filterOf, type LetterFlags } from '../letter-filter.js';
import { type LetterView, meantLetters, viewOf, withLetters } from '../letters.js';
import { keyText } from '../printable.js';

/** What fits on a screen, three lines each. */
const SHOWN_GROUPS = 7;

export async function group(flags: LetterFlags, global: GlobalOptions): Promise<void> {
  const filter = filterOf(flags);
  await withLetters(global, async (store) => {
    const groups = await grouped(meantLetters(store, filter));
    print(global, groups, () => describeGroups(groups, store.name));
  });
}

export async function list(flags: LetterFlags & { readonly limit: string }, global: GlobalOptions): Promise<void> {
  const limit = /^\d{1,9}$/.test(flags.limit) ? Number(flags.limit) : 0;
  if (limit === 0) throw new VerbError(`--limit ${flags.limit}: give a number above 0`, EXIT.usage);
  const { limit: _limit, ...meant } = flags;
  const filter = filterOf(meant);
  await withLetters(global, async (store) => {
    const letters: LetterView[] = [];
    let more = false;
    for await (const letter of meantLetters(store, filter)) {
      more = letters.length >= limit;
      if (more) break;
      letters.push(viewOf(letter));
    }
    print(global, letters, () =>
      letters.length === 0 ? [`no dead letter in ${store.name}`] : letters.flatMap(describeLetter),
    );
    if (more) report(`there are more than ${limit}: \`dlq group\` counts them, --limit lists them`);
  });
}

function describeLetter({ letter, at, reason, errorType, errorMessage, link, key, redriven }: LetterView): string[] {
  const times = redriven > 0 ? `, redriven ${counted(redriven, 'time')}` : '';
  return [
    `${letter}  ${at}  ${keyText(key)}  (link ${link ?? 'unknown'}, ${reason}${times})`,
    ...(errorType === null ? [] : [`    ${errorType}: ${errorMessage ?? ''}`]),
  ];
}

function describeGroups({ letters, groups, others }: LetterGroups, name: string): string[] {
  if (letters === 0) return [`no dead letter in ${name}`];
  const shown = groups.slice(0, SHOWN_GROUPS);
  const unshown = groups.slice(SHOWN_GROUPS).reduce((sum, group) => sum + group.letters, others);
  return [
    `${counted(letters, 'dead letter')} in ${counted(groups.length, 'group')}, ${name}`,
    ...shown.flatMap(({ group, reason, errorType, link, prefix, ...of }) => {
      const keys =
        of.exampleKey === null ? '' : `, ${prefix === '' ? 'keys' : `${prefix}*`} such as ${keyText(of.exampleKey)}`;
      const given = of.exhausted > 0 ? `, ${of.exhausted} redriven too often` : '';
      return [
        `${group}  ${of.letters}  ${[reason, errorType].filter(Boolean).join(', ')}  (link ${link ?? 'unknown'}${keys}${given})`,
        `    ${of.firstAt} to ${of.lastAt}. ${of.step}`,
        `    ${of.next}`,
      ];
    }),
    ...(unshown > 0
      ? [`and ${unshown} of further groups; --output json has them, --reason and others narrow it down`]
      : []),
  ];
}
