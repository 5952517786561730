/** Groups of escalated keys for a person and for scripts, each with what to do next. */
import { isSkipped, nextStep } from '../../../workflows/error-types.js';
import { counted } from '../../plural.js';
import { type Filters, isFiltered } from '../usage/filters.js';
import type { EscalatedGroup, EscalatedGroups } from './groups.js';

const MOST_PREFIXES = 5;

export function groupReport({ total, groups, others }: EscalatedGroups, filters: Filters) {
  const reported = groups.map((group) => ({
    ...group,
    nextStep: nextStep(group.error ?? ''),
    next: nextCommand(group, filters),
  }));
  return { total, groups: reported, others };
}

export function describeGroups({ total, groups, others }: EscalatedGroups, filters: Filters): string[] {
  if (total === 0) return [describeNone(filters)];
  return [
    total === null ? 'keys are escalated, so many that they are not counted yet' : `${counted(total, 'key')} escalated`,
    ...groups.flatMap((group) => describeGroup(group, filters)),
    ...(others === null ? ['  and perhaps more of other kinds'] : []),
    ...(total === null || groups.some(({ keys }) => keys === null) || others === null
      ? ['not all is counted yet: `keymend escalations --groups` takes the time']
      : []),
    ...(others !== null && others > 0 ? [`  and ${others} of other kinds`] : []),
  ];
}

export function describeNone(filters: Filters): string {
  const { link, ...others } = filters;
  const narrowed = isFiltered(others) ? ', as far as the filters go' : '';
  return `no key is escalated${link === undefined ? '' : ` of link ${link}`}${narrowed}`;
}

function describeGroup(group: EscalatedGroup, filters: Filters): string[] {
  const { error, link, keys, sample } = group;
  const shown = sample.prefixes.slice(0, MOST_PREFIXES);
  const more = sample.prefixes.length - shown.length;
  const prefixes = shown.map(({ prefix, keys }) => `${prefix === '' ? '(no prefix)' : prefix} ${keys}`);
  const which = sample.keys === keys ? 'keys begin with' : `of the newest ${sample.keys} keys begin with`;
  return [
    `  ${keys ?? `at least ${sample.keys}`}  ${error ?? 'an error that is not shown'}${link === null ? '' : `  (link ${link})`}`,
    `      ${which}: ${prefixes.join(', ')}${more > 0 ? `, and ${more} more` : ''}`,
    `      ${nextStep(error ?? '')}`,
    `      then: ${nextCommand(group, filters)}`,
  ];
}

/** Narrowed down as the groups were. */
function nextCommand({ error, link }: EscalatedGroup, { prefix, olderThan }: Filters): string {
  const options = { link, error, prefix, 'older-than': olderThan };
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
