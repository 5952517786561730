/** What is found out and published when a key is escalated. */
import { Context } from '@temporalio/activity';
import { sightOf } from '../src/engine/index.js';
import { keyBytes } from '../src/events/failed-write-codec.js';
import { within } from '../src/patience/within.js';
import type { EscalateRequest, EscalationLook, EscalationSight } from '../workflows/activities.js';
import type { SideSeen, SidesSeen } from '../workflows/messages.js';
import { beating } from './pulse.js';
import { Slots } from './slots.js';
import type { LinkRuntime, WorkflowRun } from './work.js';

/** Where dead letters end. */
type LettersEnd = readonly string[];

/** What is known of earlier tries to publish the same letter. */
export interface Tries {
  /** From 1. */
  readonly attempt: number;
  /** What an earlier one has noted. */
  readonly noted: LettersEnd | undefined;
  /** Kept for the next one, before anything is published. */
  note(end: LettersEnd): void;
}

interface EscalationDependencies {
  readonly links: ReadonlyMap<string, Pick<LinkRuntime, 'sides'>>;
  /** Search attributes that can be written now. Must not throw. */
  readonly usableAttributes: () => Promise<readonly string[]>;
  /** Where the dead letters end now; undefined: nobody needs to know. */
  readonly lettersEnd?: (() => Promise<LettersEnd>) | undefined;
  /** Resolves when the dead letters have acknowledged the record. */
  readonly publishEscalation: (request: EscalateRequest, workflow: WorkflowRun, tries: Tries) => Promise<void>;
}

/** The whole activity has 5 s, and without the search attributes nobody finds the key. */
const SIGHT_MS = 2_000;
const SLOW_MS = 250;
/** Of one link at once: it is a help for a person, and shall cost the two sides next to nothing. */
const LOOKS_AT_ONCE = 5;

export function createEscalationActivities(dependencies: EscalationDependencies) {
  const { links, usableAttributes, lettersEnd, publishEscalation } = dependencies;
  const slots = new Map(Array.from(links.keys(), (name) => [name, new Slots(LOOKS_AT_ONCE)]));
  const endsSoon = lettersEnd === undefined ? undefined : unlessSlow(lettersEnd);

  async function sidesOf({ link, key, encoding }: EscalationLook): Promise<SidesSeen | undefined> {
    const sides = links.get(link)?.sides;
    if (sides === undefined) return undefined;
    const seen = await slots.get(link)!.run(() => sightOf(sides, keyBytes({ key, encoding })));
    if ('retryAfterMs' in seen || (seen.source === null && seen.target === null)) return undefined;
    return { at: new Date().toISOString(), source: asSeen(seen.source), target: asSeen(seen.target) };
  }

  return {
    async escalate(request: EscalateRequest): Promise<void> {
      const context = Context.current();
      const { workflowExecution, attempt, heartbeatDetails } = context.info;
      let noted = heartbeatDetails as LettersEnd | undefined;
      const note = (end: LettersEnd) => {
        noted = end;
        context.heartbeat(end);
      };
      // An attempt that fails before its first beat must not lose what an earlier one has noted.
      if (noted !== undefined) note(noted);
      const publishing = () => publishEscalation(request, workflowExecution!, { attempt, noted, note });
      await beating(publishing, () => noted);
    },

    async usableAttributes(look?: EscalationLook): Promise<readonly string[] | EscalationSight> {
      if (look === undefined) return usableAttributes();
      const [usable, sides, end] = await Promise.all([
        usableAttributes(),
        soon(sidesOf(look)),
        endsSoon === undefined ? undefined : soon(endsSoon()),
      ]);
      return { usable, ...(sides && { sides }), ...(end && { lettersEnd: end }) };
    },
  };
}

/**
 * Of what is asked once for many: whoever comes while an answer is long in coming does without, for
 * each that waits holds up a workflow task.
 */
function unlessSlow<T>(ask: () => Promise<T>): () => Promise<T | undefined> {
  let asking: { readonly since: number; readonly answer: Promise<T> } | null = null;
  return () => {
    if (asking === null) {
      const answer = ask().finally(() => {
        asking = null;
      });
      asking = { since: performance.now(), answer };
    }
    return performance.now() - asking.since < SLOW_MS ? asking.answer : Promise.resolve(undefined);
  };
}

/** What does not come in time, or not at all, is done without. */
async function soon<T>(work: Promise<T>): Promise<T | undefined> {
  const found = await within(SIGHT_MS, work).catch(() => undefined);
  return found === 'late' ? undefined : found;
}

type Sight = Awaited<ReturnType<typeof sightOf>>['source'];

function asSeen(sight: Sight): SideSeen | null {
  if (sight === null) return null;
  const { type, size, expiresAt } = sight;
  return { type, size, expiresAt: expiresAt === null ? null : isoTime(expiresAt) };
}

/** An expiry can be far beyond what a date can be. */
function isoTime(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? 'in a distant future' : time.toISOString();
}
