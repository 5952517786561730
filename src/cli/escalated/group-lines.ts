/** Groups of escalated keys for a person and for scripts, each with what to do next. */
import { isSkipped, nextStep } from '../../../workflows/error-types.js';
import { counted } from '../../plural.js';
import { type Filters, isFiltered } from '../usage/filters.js';
import type { PrefixedGroup, PrefixedGroups } from './prefixes.js';

export function groupReport({ total, groups, others }: PrefixedGroups, filters: Filters) {
  const reported = groups.map((group) => ({
    ...group,
    prefixes: group.prefixes.map((one) => ({ ...one, next: nextCommand(group, filters, one.prefix) })),
    nextStep: nextStep(group.error ?? ''),
    next: nextCommand(group, filters),
  }));
  return { total, groups: reported, others };
}

export function describeGroups({ total, groups, others }: PrefixedGroups, filters: Filters): string[] {
  if (total === 0) return [describeNone(filters)];
  return [
    total === null ? 'keys are escalated, so many that they are not counted yet' : `${counted(total, 'key')} escalated`,
    ...groups.flatMap((group) => describeGroup(group, filters)),
    ...(others === null ? ['  and perhaps more of other kinds'] : []),
    ...(total === null || groups.some(isUncounted) || others === null
      ? ['not all is counted yet: `keymend escalations --groups` takes the time']
      : []),
    ...(others !== null && others > 0 ? [`  and ${others} of other kinds`] : []),
  ];
}

function isUncounted({ keys, prefixes }: PrefixedGroup): boolean {
  return keys === null || prefixes.some(({ keys, isTwin }) => keys === null && !isTwin);
}

export function describeNone(filters: Filters): string {
  const { link, ...others } = filters;
  const narrowed = isFiltered(others) ? ', as far as the filters go' : '';
  return `no key is escalated${link === undefined ? '' : ` of link ${link}`}${narrowed}`;
}

function describeGroup(group: PrefixedGroup, filters: Filters): string[] {
  const { error, link, keys, sample, prefixes, otherKeys } = group;
  const begun = prefixes.map((one) => `${one.prefix} ${one.keys ?? `at least ${one.sample}`}`);
  const others = otherKeys === null ? 'perhaps others' : otherKeys > 0 ? `${otherKeys} with something else` : '';
  const next = nextCommand(group, filters);
  const narrower = prefixes
    .filter((one) => one.keys === null || one.keys !== keys)
    .map(({ prefix }) => nextCommand(group, filters, prefix))
    .filter((command) => command !== next);
  return [
    `  ${keys ?? `at least ${sample}`}  ${error ?? 'an error that is not shown'}${link === null ? '' : `  (link ${link})`}`,
    ...(begun.length === 0
      ? []
      : [`      keys begin with: ${[...begun, others].filter((part) => part !== '').join(', ')}`]),
    `      ${nextStep(error ?? '')}`,
    `      then: ${next}`,
    ...narrower.map((command) => `      or only: ${command}`),
  ];
}

/** @param begins narrows down what the groups were narrowed down to */
function nextCommand({ error, link }: PrefixedGroup, { prefix, olderThan }: Filters, begins = ''): string {
  const options = {
    link,
    error,
    prefix: begins !== '' && begins.startsWith(prefix ?? '') ? begins : prefix,
    'older-than': olderThan,
  };
  const narrowed = Object.entries(options).flatMap(([name, value]) =>
    value == null ? [] : [`--${name} ${word(value)}`],
  );
  const verb = isSkipped(error ?? '') ? "skip --escalated --reason '…'" : 'retry --escalated';
  return ['npx keymend', verb, ...narrowed].join(' ');
}

/** As a shell takes it. */
function word(text: string): string {
  return /^[\w:./@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
