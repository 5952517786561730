/** The report of a sweep as a file: keys and counts, never a value. */
import { z } from 'zod';
import { DIFFERENCES, type ListedDifference, type SweepResult } from '../../workflows/sweep-messages.js';
import { differencesIn, unlistedIn } from './tally.js';

/** Raised with each change that a reader of an earlier version would take for something else. */
const VERSION = 1;
const FORMAT = 'keymend-sweep';

export interface SweepReport extends SweepResult {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
}

export function reportOf(result: SweepResult): SweepReport {
  return { format: FORMAT, version: VERSION, ...result };
}

/** What is read of a report to look at its differences once more. */
export interface ReportedDifferences {
  readonly link: string;
  readonly listed: readonly ListedDifference[];
  /** How many more there were. */
  readonly unlisted: number;
  /** Keys that were not compared, of which no report says the names. */
  readonly uncompared: number;
  /** As in `SweepResult`. */
  readonly outcome: string;
}

const head = z.object({ format: z.literal(FORMAT), version: z.number() });
const body = z.object({
  link: z.string(),
  outcome: z.string(),
  options: z.object({ repair: z.boolean().optional() }).default({}),
  differing: z.record(z.enum(DIFFERENCES), z.number()),
  handedOver: z.number().default(0),
  unsettled: z.number().default(0),
  failed: z.number().default(0),
  again: z.number().default(0),
  listed: z.array(z.object({ key: z.string(), encoding: z.enum(['utf8', 'base64']), difference: z.enum(DIFFERENCES) })),
});

/**
 * @param text what `sweep --report` has written as JSON
 * @param where what to call it in an error
 * @throws Error with one line
 */
export function parseReport(text: string, where: string): ReportedDifferences {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message quotes the text.
    throw new Error(`${where} is no JSON; name a report that \`sweep --report FILE.json\` has written`);
  }
  const named = head.safeParse(json);
  if (!named.success) throw new Error(`${where} is no report of a sweep; name one that \`sweep --report\` has written`);
  const { version } = named.data;
  if (version !== VERSION) {
    throw new Error(
      `${where} is a report of version ${version}, and this keymend reads version ${VERSION}; sweep again with this one`,
    );
  }
  const parsed = body.safeParse(json);
  if (!parsed.success) throw new Error(`${where} is damaged: not all that a report has is in it; sweep again`);
  const { link, outcome, options, differing, listed, handedOver, unsettled, failed, again } = parsed.data;
  // What differs and was not to be repaired has failed as well, and is listed.
  const refused = options.repair ? Math.max(0, differencesIn({ differing }) - handedOver) : 0;
  const uncompared = unsettled + Math.max(0, failed - refused);
  return { link, outcome, listed, unlisted: unlistedIn({ differing, listed, again }), uncompared };
}
