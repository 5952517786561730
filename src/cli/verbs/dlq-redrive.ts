/** `keymend dlq redrive` and `keymend dlq discard` */
import {
  type LetterFilter,
  MOST_REDRIVES,
  type RedriveCounts,
  type RedriveInput,
  type RedriveResult,
} from '../../../workflows/redrive-messages.js';
import type { Config } from '../../config.js';
import { LettersByKey } from '../../dead-letters/by-key.js';
import { grouped } from '../../dead-letters/groups.js';
import type { Letter } from '../../dead-letters/letter.js';
import { didYouMean } from '../../did-you-mean.js';
import { counted } from '../../plural.js';
import { withClient } from '../configured.js';
import { EXIT, type GlobalOptions, print, VerbError } from '../context.js';
import { filterOf, type LetterFlags } from '../letter-filter.js';
import { meantLetters, withLetters } from '../letters.js';
import { keyText } from '../printable.js';
import { describeCounts, describeWaiting, exitOf, redriveToTheEnd, whoRuns } from '../redrives.js';

interface CommonFlags extends LetterFlags {
  readonly max?: string;
  readonly rate?: string;
  readonly as?: string;
  readonly why?: string;
  readonly dryRun?: true;
}

export interface RedriveFlags extends CommonFlags {
  readonly failureRatio: string;
}

export interface DiscardFlags extends CommonFlags {
  readonly all?: true;
  readonly yes?: true;
}

export async function redrive(flags: RedriveFlags, global: GlobalOptions): Promise<void> {
  const failureRatio = Number(flags.failureRatio);
  if (!(failureRatio >= 0 && failureRatio <= 1))
    throw new VerbError(`--failure-ratio ${flags.failureRatio}: give a number from 0 to 1`, EXIT.usage);
  const input = { ...inputOf('redrive', flags), failureRatio };
  await (flags.dryRun ? dryRun(global, input) : run(global, input));
}

export async function discard(flags: DiscardFlags, global: GlobalOptions): Promise<void> {
  const input = inputOf('discard', flags);
  if (Object.keys(input.filter).length === 0 && flags.all === undefined)
    throw new VerbError('say which letters, for example with --group; --all means every one', EXIT.usage);
  if (flags.yes && !flags.dryRun) return run(global, input);
  const letters = await dryRun(global, input);
  if (letters > 0 && !flags.dryRun) throw new VerbError('nothing was discarded: say --yes to do it', EXIT.usage);
}

function inputOf(action: RedriveInput['action'], flags: CommonFlags): RedriveInput {
  const { max, rate, as, why } = flags;
  for (const [name, value] of Object.entries({ as, why }))
    if (value?.trim() === '') throw new VerbError(`--${name} is empty`, EXIT.usage);
  return {
    action,
    filter: filterOf(flags),
    by: as ?? whoRuns(),
    ...(why !== undefined && { reason: why }),
    ...(max !== undefined && { max: positive('max', max, /^\d{1,9}$/) }),
    ...(rate !== undefined && { rate: positive('rate', rate, /^\d{1,9}(\.\d+)?$/) }),
  };
}

function positive(name: string, text: string, form: RegExp): number {
  if (form.test(text) && Number(text) > 0) return Number(text);
  throw new VerbError(`--${name} ${text}: give a number above 0, for example 500`, EXIT.usage);
}

/** @returns how many letters it would be */
async function dryRun(global: GlobalOptions, { action, filter, max }: RedriveInput): Promise<number> {
  return withLetters(global, async (store, { links }) => {
    const left: LeftLetters = { unusable: 0, exhausted: 0 };
    const meant = meantLetters(store, filter);
    const taken = action === 'discard' ? meant : withoutLeft(meant, links, left);
    const { letters, groups } = await grouped(max === undefined ? taken : firstOf(taken, max));
    print(global, { dryRun: true, action, letters, groups, ...left }, () => [
      `${counted(letters, 'letter')} of ${counted(groups.length, 'group')} would be ${action === 'redrive' ? 'redriven' : 'discarded'}`,
      ...groups.map(
        ({ group, letters, reason, errorType }) =>
          `  ${group}  ${letters}  ${[reason, errorType].filter(Boolean).join(', ')}`,
      ),
      ...describeLeft(left),
    ]);
    return letters;
  });
}

async function* firstOf(letters: AsyncIterable<Letter>, most: number) {
  let count = 0;
  for await (const letter of letters) {
    yield letter;
    count += 1;
    if (count === most) return;
  }
}

/** Letters that a redrive leaves as they are. */
type LeftLetters = { -readonly [Why in keyof Pick<RedriveCounts, 'unusable' | 'exhausted'>]: number };

async function* withoutLeft(letters: AsyncIterable<Letter>, links: Config['links'], left: LeftLetters) {
  const keys = new LettersByKey(new Map(links.map((link) => [link.name, link])));
  for await (const letter of letters) {
    if (letter.redriven >= MOST_REDRIVES) left.exhausted += 1;
    else if (keys.read(letter) === null) left.unusable += 1;
    else yield letter;
  }
}

function describeLeft({ unusable, exhausted }: LeftLetters): string[] {
  return [
    ...(unusable > 0 ? [`left: ${counted(unusable, 'letter')} that name no key of this configuration`] : []),
    ...(exhausted > 0
      ? [
          `left: ${counted(exhausted, 'letter')} that were redriven ${MOST_REDRIVES} times; see to their cause, then discard`,
        ]
      : []),
  ];
}

async function run(global: GlobalOptions, input: RedriveInput): Promise<void> {
  await withClient(global, async (client, config) => {
    const result = await redriveToTheEnd(client, config, input);
    const links = config.links.map(({ name }) => name);
    print(global, result, () => (result.counts.seen > 0 ? describe(result) : describeNone(result, links)));
    process.exitCode = exitOf(result);
  });
}

/** Not that all is healed: what was meant may have been written wrongly. */
function describeNone({ outcome, filter: { link }, by, redriveId }: RedriveResult, links: readonly string[]): string[] {
  const meant =
    link === undefined || links.includes(link) ? '' : `; no link is called ${link}${didYouMean(link, links)}`;
  return [
    `${outcome}: no open letter is meant${meant}`,
    'next: npx keymend dlq group',
    `by ${by}, kept as ${redriveId}`,
  ];
}

const SHOWN_KEYS = 10;

function describe({ action, outcome, counts, failures, equalKeys, filter, ...result }: RedriveResult): string[] {
  const { unusable, exhausted, keys, failedAgain } = counts;
  const more = counts.alreadyEqual - SHOWN_KEYS;
  return [
    `${outcome}: ${describeCounts(action, counts)}${action === 'redrive' ? `, ${counted(keys, 'repair')}` : ''}${describeWaiting(counts, result.waitsFor)}`,
    ...(outcome === 'stopped' ? [`too many of a step failed: the cause is not mended. Nothing more was tried`] : []),
    ...failures.map(({ type, message, letters }) => `  ${letters}  ${type}: ${message}`),
    ...(equalKeys.length > 0
      ? [
          `resolved, for their keys were equal already: ${equalKeys.slice(0, SHOWN_KEYS).map(keyText).join(', ')}${more > 0 ? ` and more` : ''}`,
        ]
      : []),
    ...describeLeft(counts),
    ...(result.newMeanwhile !== null && result.newMeanwhile > 0
      ? [`new meanwhile: ${counted(result.newMeanwhile, 'letter')}`]
      : []),
    ...(failedAgain + unusable + exhausted > 0 ? [nextCommand(filter)] : []),
    `by ${result.by}, kept as ${result.redriveId}`,
  ];
}

function nextCommand({ link }: LetterFilter): string {
  return `next: npx keymend dlq group${link === undefined ? '' : ` --link ${link}`}`;
}
