/** What the workflow `redrive` asks for. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import pMap from 'p-map';
import type { Links } from '../src/bridge/group.js';
import type { LettersByKey } from '../src/dead-letters/by-key.js';
import { isMeant } from '../src/dead-letters/filter.js';
import type { Letter } from '../src/dead-letters/letter.js';
import { AnotherTopic, closeLetters, readStep } from '../src/dead-letters/step.js';
import type { LetterStore } from '../src/dead-letters/store.js';
import { MOST_LEFT, type WaitsFor } from '../src/dead-letters/taken.js';
import type { RedriveActivities, RedriveCounts } from '../workflows/redrive-messages.js';
import { landsWithin } from '../workflows/settle.js';
import { beating } from './pulse.js';
import { type KeyEnd, type TriesTold, tryKeys, workflowId } from './redrive-keys.js';
import { StepSum } from './redrive-sum.js';
import type { LinkRuntime } from './work.js';

interface RedriveDependencies extends TriesTold {
  readonly runtimes: ReadonlyMap<string, LinkRuntime>;
  readonly links: Links;
  readonly store: LetterStore;
  /**
   * The key is equal: its workflow, which may wait escalated, is to look once more. Must not throw.
   */
  readonly release: (link: string, key: Buffer) => Promise<void>;
  /** Told of each step. Must not throw. */
  readonly onStep: (step: RedriveStep) => void;
}

interface RedriveStep extends RedriveCounts {
  readonly workflowId: string;
  readonly action: string;
}

/** Letters that a workflow waits with, so that it is told. */
const HELD: ReadonlySet<string> = new Set(['attempts-exhausted', 'permanent-error']);
const isHeld = ({ reason }: Letter) => HELD.has(reason);
const RELEASED_AT_ONCE = 16;

export function createRedriveActivities({
  runtimes,
  links,
  store,
  release,
  onStep,
  ...told
}: RedriveDependencies): RedriveActivities {
  async function tryStep(keysByLink: LettersByKey, sum: StepSum, outages: KnownOutages, again: boolean) {
    const byLink = keysByLink.byLink();
    const lands = byLink.map(({ policy }) => landsWithin('unknown', policy.settleMs));
    if (again && lands.length > 0) await Context.current().sleep(Math.max(...lands));
    for (const { link, policy, keys } of byLink) {
      const writes = keys.map(({ write }) => write);
      // A link that the configuration has is one of the worker's.
      const ends = await tryKeys(link, runtimes.get(link)!, policy, writes, told);
      for (const [index, { key, letters }] of keys.entries()) sum.take(key, letters, ends[index]!);
      if (ends.some(({ kind }) => kind === 'waiting')) outages.note(link);
      const held = keys.filter(({ letters }, index) => isEqualNow(ends[index]!) && letters.some(isHeld));
      await pMap(held, ({ key }) => release(link, key), { concurrency: RELEASED_AT_ONCE });
    }
  }

  return {
    async tryLetters(request) {
      return beating(async () => {
        const sum = new StepSum();
        const outages = new KnownOutages(runtimes);
        // An attempt before this one may have written, and was not able to look at that again.
        const mayHaveWritten = request.again || Context.current().info.attempt > 1;
        for (let rest = request; ; ) {
          const step = await readStep(store, rest, links, outages.waitsFor).catch(unreadable);
          sum.read(step);
          await tryStep(step.taken.keys, sum, outages, mayHaveWritten);
          // Keys that wait prove nothing: it goes on to those that can be tried, at once.
          if (step.isLast || sum.isEnough(MOST_LEFT)) {
            const reply = sum.reply(step);
            onStep({ ...reply.counts, action: request.action, workflowId: workflowId() });
            return reply;
          }
          const { passed, ends, storeId } = step;
          rest = { ...request, passed, ends, storeId };
        }
      });
    },

    async closeLetters(request) {
      await beating(() => closeLetters(store, request, links).catch(unreadable));
    },

    async countNew({ filter, passed, redriveId }) {
      return beating(async () => {
        let count = 0;
        const now = Date.now();
        for await (const letter of store.letters({ passed }))
          if (letter.redriveId !== redriveId && isMeant(letter, filter, now)) count += 1;
        return count;
      });
    },
  };
}

function isEqualNow({ kind }: KeyEnd): boolean {
  return kind === 'equal' || kind === 'repaired';
}

/** Links of which a server was found not to answer in this step. */
class KnownOutages {
  readonly #links = new Set<string>();
  readonly #runtimes: RedriveDependencies['runtimes'];

  constructor(runtimes: RedriveDependencies['runtimes']) {
    this.#runtimes = runtimes;
  }

  note(link: string): void {
    this.#links.add(link);
  }

  /** Known at once of a server that is out; another one of the link is asked. */
  readonly waitsFor: WaitsFor = async ({ link, key }) => {
    if (!this.#links.has(link.name)) return null;
    const { target } = this.#runtimes.get(link.name)!.sides;
    return (await target.outage([key], 0))?.outage?.shard ?? null;
  };
}

/** What Kafka or a Redis said is for whoever looks at the workflow; it is tried again. */
function unreadable(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof AnotherTopic) throw ApplicationFailure.nonRetryable(message, error.name);
  throw ApplicationFailure.retryable(message, 'DeadLettersUnreachable');
}
