/** `keymend sweep` and `keymend sweep rerun REPORT` */
import { accessSync, constants, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, extname } from 'node:path';
import type { Client } from '@temporalio/client';
import { BATCH_TYPE } from '../../../workflows/batch-messages.js';
import type { SweepOptions, SweepResult } from '../../../workflows/sweep-messages.js';
import type { Config } from '../../config.js';
import { cacheModeOf } from '../../mysql/connect-source.js';
import { counted } from '../../plural.js';
import { describeConsistency } from '../../sweep/ageing.js';
import { parseReport, type ReportedDifferences, reportOf } from '../../sweep/report.js';
import { htmlReport } from '../../sweep/report-html.js';
import { differencesIn, unlistedIn } from '../../sweep/tally.js';
import { withClient } from '../configured.js';
import { chooseLink, EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { duration } from '../escalated/query.js';
import { keyText, printable } from '../printable.js';
import { describeSchedule, sweepEvery, sweepNoMore } from '../sweeps/sweep-schedules.js';
import { sweepToTheEnd } from '../sweeps/sweeps.js';

/** Between two sweeps that begin by themselves. */
const LEAST_MS = 60_000;

export interface SweepFlags {
  readonly link?: string;
  readonly match?: string;
  readonly type?: string;
  readonly rate?: string;
  readonly sample?: string;
  readonly repair?: true;
  readonly report?: string;
  readonly every?: string;
  readonly readFrom?: 'replica' | 'master';
}

export async function sweep(flags: SweepFlags, global: GlobalOptions): Promise<void> {
  const options = optionsOf(flags);
  if (flags.every !== undefined) await schedule(global, flags, options, flags.every);
  else await run(global, flags, options, null);
}

export async function rerun(path: string, flags: SweepFlags, global: GlobalOptions): Promise<void> {
  for (const name of ['match', 'type', 'sample', 'every'] as const)
    if (flags[name] !== undefined)
      throw new VerbError(`rerun looks at the keys of the report: leave --${name} out`, EXIT.usage);
  const reported = readReport(path);
  if (flags.link !== undefined && flags.link !== reported.link)
    throw new VerbError(`${path} is of link ${reported.link}, not of ${flags.link}`, EXIT.usage);
  const { listed, link } = reported;
  const keys = listed.map(({ key, encoding }) => ({ key, encoding }));
  await run(global, { ...flags, link }, { ...optionsOf(flags), keys }, reported);
}

async function schedule(global: GlobalOptions, flags: SweepFlags, options: SweepOptions, every: string): Promise<void> {
  if (flags.report !== undefined)
    throw new VerbError(
      '--every begins sweeps without you: nobody would write --report; `keymend status` has the last result',
      EXIT.usage,
    );
  const everyMs = every === 'off' ? null : duration(every, '--every');
  if (everyMs !== null && everyMs < LEAST_MS)
    throw new VerbError(`--every ${every}: give a time of a minute or more, for example 24h, or off`, EXIT.usage);
  await withClient(global, async (client, config) => {
    if (everyMs === null) {
      const { link, was } = await endSchedule(client, config, flags.link);
      print(global, { link, everyMs: null }, () => [
        `link ${link}: ${was ? 'no sweep begins by itself any more' : 'no sweep began by itself'}`,
      ]);
      return;
    }
    const chosen = chooseLink(config, flags.link);
    const link = chosen.name;
    const isAged = cacheModeOf(chosen) !== undefined && options.sample !== undefined && !options.repair;
    const made = await sweepEvery(client, config, {
      link,
      everyMs,
      options: { ...options, ...(isAged && { aged: true }) },
    });
    print(global, made, () => [`link ${link}: ${describeSchedule(made)}; --every off ends that`]);
  });
}

/** Also that of a link which is no longer in the configuration: nothing else would end it. */
async function endSchedule(client: Client, config: Config, name: string | undefined) {
  const was = name !== undefined && (await sweepNoMore(client, config, name));
  if (was) return { link: name, was };
  const link = chooseLink(config, name).name;
  return { link, was: await sweepNoMore(client, config, link) };
}

async function run(
  global: GlobalOptions,
  flags: SweepFlags,
  options: SweepOptions,
  rerun: ReportedDifferences | null,
): Promise<void> {
  if (flags.report !== undefined) checkReport(flags.report);
  await withClient(global, async (client, config) => {
    const link = chooseLink(config, flags.link);
    const result = await sweepToTheEnd(client, config, link, options, rerun === null);
    print(global, reportOf(result), () => describe(result));
    const unseen = rerun === null ? [] : describeUnseen(rerun);
    process.exitCode = result.outcome === 'equal' && unseen.length > 0 ? EXIT.incomplete : EXITS[result.outcome];
    if (flags.report !== undefined) writeReport(flags.report, result);
    for (const line of unseen) report(line);
  });
}

/** What was not looked at although the report is of it. */
function describeUnseen({ outcome, listed, unlisted, uncompared }: ReportedDifferences): string[] {
  const keys = listed.length;
  return [
    ...(keys === 0 && outcome !== 'equal' ? ['the report names no key that differs: nothing was looked at'] : []),
    ...(unlisted > 0
      ? [`the report lists ${keys} keys of ${keys + unlisted} that differed: the others were not looked at`]
      : []),
    ...(uncompared > 0
      ? [`${counted(uncompared, 'key')} could not be compared then, and the report does not name them: sweep again`]
      : []),
  ];
}

const EXITS = { equal: EXIT.ok, divergent: EXIT.divergence, incomplete: EXIT.incomplete } as const;

/** @throws VerbError for what can't be meant */
function optionsOf({ match, type, rate, sample, repair, readFrom }: SweepFlags): SweepOptions {
  for (const [name, value] of Object.entries({ match, type }))
    if (value === '')
      throw new VerbError(`--${name} is empty, most likely a shell variable that is not set`, EXIT.usage);
  return {
    ...(match !== undefined && { match }),
    ...(type !== undefined && { type: type.toLowerCase() }),
    ...(rate !== undefined && { rate: positive('rate', rate, /^\d+$/, Number.MAX_SAFE_INTEGER) }),
    ...(sample !== undefined && { sample: positive('sample', sample, /^\d+(\.\d+)?%$/, 100) / 100 }),
    ...(repair && { repair }),
    ...(readFrom === 'replica' && { readFrom }),
  };
}

function positive(name: string, text: string, form: RegExp, most: number): number {
  const value = Number.parseFloat(text);
  if (form.test(text) && value > 0 && value <= most) return value;
  const example = name === 'rate' ? '20000' : '1%';
  throw new VerbError(`--${name} ${text}: give a number above 0, for example ${example}`, EXIT.usage);
}

function readReport(path: string): ReportedDifferences {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new VerbError(
      `${path}: cannot be read (${(error as NodeJS.ErrnoException).code}); check the path`,
      EXIT.usage,
    );
  }
  try {
    return parseReport(text, path);
  } catch (error) {
    throw new VerbError((error as Error).message, EXIT.usage);
  }
}

/** Before hours of work that it is meant for. @throws VerbError for what can't be written */
function checkReport(path: string): void {
  if (!/^\.(json|html)$/.test(extname(path)))
    throw new VerbError(`--report ${path}: name a file that ends in .json or .html`, EXIT.usage);
  try {
    accessSync(dirname(path), constants.W_OK);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) {
      if (existsSync(path)) throw Object.assign(new Error('is no file'), { code: 'EISDIR' });
    } else accessSync(path, constants.W_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new VerbError(
      `--report ${path} cannot be written (${code}); name a file in a folder that is there and may be written`,
      EXIT.usage,
    );
  }
}

/** The result is printed by then, whatever becomes of its file. */
function writeReport(path: string, result: SweepResult): void {
  const whole = reportOf(result);
  const text = extname(path) === '.html' ? htmlReport(whole, printable) : `${JSON.stringify(whole, null, 2)}\n`;
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new VerbError(`${path}: the report cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

const SHOWN_KEYS = 20;

function describe(result: SweepResult): string[] {
  const { link, outcome, compared, repaired, unsettled, failed, reasons, prefixes, listed, redone } = result;
  const { handedOver, unhealed } = result;
  const differing = differencesIn(result);
  const kinds = Object.entries(result.differing).flatMap(([kind, count]) => (count > 0 ? [`${kind} ${count}`] : []));
  const shown = listed.slice(0, SHOWN_KEYS);
  const more = listed.length - shown.length + unlistedIn(result);
  return [
    `link ${link}: ${outcome}, ${counted(compared, 'key')} compared, ${differing} ${differing === 1 ? 'differs' : 'differ'}${kinds.length > 0 ? ` (${kinds.join(', ')})` : ''}`,
    ...(handedOver > 0 ? [`repaired: ${repaired} of ${handedOver} that were handed over to ${BATCH_TYPE}`] : []),
    ...(unhealed > 0
      ? [
          `${counted(unhealed, 'key')} did not heal there and went on as workflows of their own: see keymend escalations`,
        ]
      : []),
    ...(unsettled > 0 ? [`${counted(unsettled, 'key')} changed at each look: nothing is known of them`] : []),
    ...(failed > 0 ? [`${counted(failed, 'key')} could not be compared, or not repaired:`] : []),
    ...reasons.map((reason) => (failed > 0 ? `  ${reason}` : reason)),
    ...(redone > 0 ? [`begun anew after a restart, a failover or a move of slots: ${counted(redone, 'server')}`] : []),
    ...(result.readFrom === undefined
      ? []
      : [
          `read from ${counted(result.readFrom.replicas, 'replica')}, and ${counted(result.readFrom.masters, 'master')} without one`,
        ]),
    ...(result.atMost !== undefined
      ? [
          `at most ${(100 * result.atMost).toFixed(3)} % differ, at 95 %${result.targetOnly === 'skipped' ? '; keys of the target alone were not looked for' : ''}`,
        ]
      : []),
    ...describeConsistency(result.consistent),
    ...(prefixes.length > 1
      ? prefixes.slice(0, 5).map(({ prefix, keys }) => `  ${keys}  ${prefix === '' ? '(no prefix)' : prefix}`)
      : []),
    ...shown.map(
      ({ key, encoding, difference, batch, repaired }) =>
        `${difference.padEnd(8)}${keyText({ key, encoding })}${repaired ? '  repaired' : batch === undefined ? '' : '  handed over'}`,
    ),
    ...(more > 0 ? [`and ${more} more; --report FILE.json lists up to a thousand`] : []),
  ];
}
