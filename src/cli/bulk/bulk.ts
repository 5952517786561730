/** What verbs for one key or many share: which are meant, consent, telling, what became of them. */
import type { Client } from '@temporalio/client';
import type { Config } from '../../config.js';
import { EXIT, type GlobalOptions, VerbError } from '../context.js';
import { escalatedQuery } from '../escalated/query.js';
import type { BulkFlags } from '../usage/bulk.js';
import { canAsk, consent, questionOf } from './consent.js';
import { type Said, sayHowItEnds, waitOf } from './ending.js';
import { type Answer, dryRun, rateOf, tellAll } from './run.js';
import { expectOneMeaning, type KeyOf, selectionOf, type Target } from './selection.js';

interface Bulk {
  readonly global: GlobalOptions;
  readonly client: Client;
  readonly config: Config;
  /** The KEY, where one was given. */
  readonly text: string | undefined;
  readonly flags: BulkFlags;
  /** Of the verb. */
  readonly name: string;
  /** "try again": what they are told, for a person. */
  readonly verb: string;
  /** Whether nobody need be asked where nobody can be. */
  readonly unasked: boolean;
  /** One key alone. */
  one(text: string): Promise<void>;
  /** Of a line in a file. */
  readonly keyOf: KeyOf;
  tell(target: Target): Promise<Answer>;
  said(keys: number): Said;
}

/** @throws VerbError for what can't be meant, where nobody says yes, and for what went wrong */
export async function bulk({ global, client, config, text, flags, name, verb, unasked, ...does }: Bulk): Promise<void> {
  expectOneMeaning(text, flags);
  const rate = rateOf(flags.rate);
  const waitMs = waitOf(flags, global);
  const selection = selectionOf(client, config, flags, does.keyOf);
  if (selection === null && text === undefined)
    throw new VerbError(`missing required argument 'key'; see \`keymend ${name} --help\``, EXIT.usage);
  if (selection === null) return does.one(text!);
  if (flags.dryRun) return dryRun(global, selection, verb);
  if (!(flags.yes || (unasked && !canAsk()))) await consent(await questionOf(selection, verb));
  const escalatedBefore = selection.isAllEscalated ? null : await countEscalated(client, config, flags);
  const told = await tellAll(config, selection, { rate, verb, tell: does.tell });
  const said = does.said(told.keys.size);
  await sayHowItEnds(global, client, config, { link: flags.link, told, escalatedBefore, waitMs, said });
}

/**
 * Of the same link, whatever else was asked for. Not known without the attributes: then those alone
 * count as new that have begun since.
 */
async function countEscalated(client: Client, config: Config, { link }: BulkFlags): Promise<number> {
  const { query } = escalatedQuery(config, link === undefined ? {} : { link });
  return (await client.workflow.count(query).catch(() => ({ count: Number.MAX_SAFE_INTEGER }))).count;
}
