/** What the workflow `redrive` asks for. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import pMap from 'p-map';
import type { Links } from '../src/bridge/group.js';
import { isMeant } from '../src/dead-letters/filter.js';
import type { Letter } from '../src/dead-letters/letter.js';
import { closeLetters, offsetsOf, readStep } from '../src/dead-letters/step.js';
import type { LetterStore } from '../src/dead-letters/store.js';
import { encodeKey } from '../src/events/failed-write-codec.js';
import type { EncodedKey } from '../workflows/messages.js';
import type {
  FailedLetters,
  RedriveActivities,
  RedriveCounts,
  ResolvedLetters,
  TryLettersReply,
} from '../workflows/redrive-messages.js';
import { landsWithin } from '../workflows/settle.js';
import { startPulse } from './pulse.js';
import { type KeyEnd, tryKeys } from './redrive-keys.js';
import type { LinkRuntime } from './work.js';

interface RedriveDependencies {
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
/** Named in the reply of one step. */
const MOST_NAMED = 100;

export function createRedriveActivities({
  runtimes,
  links,
  store,
  release,
  onStep,
}: RedriveDependencies): RedriveActivities {
  return {
    async tryLetters(request) {
      return beating(async () => {
        const step = await readStep(store, request, links).catch(unreachable);
        // An attempt before this one may have written, and was not able to look at that again.
        const context = Context.current();
        const lands = [...step.keys.byLink()].map(({ policy }) => landsWithin('unknown', policy.settleMs));
        if (context.info.attempt > 1 && lands.length > 0) await context.sleep(Math.max(...lands));
        const sum = new StepSum();
        sum.discard(step.discarded);
        for (const { link, policy, keys } of step.keys.byLink()) {
          const writes = keys.map(({ write }) => write);
          // A link that the configuration has is one of the worker's.
          const ends = await tryKeys(link, runtimes.get(link)!, policy, writes);
          for (const [index, { key, letters }] of keys.entries()) sum.take(key, letters, ends[index]!);
          const held = keys.filter(({ letters }, index) => ends[index]!.kind !== 'failed' && letters.some(isHeld));
          await pMap(held, ({ key }) => release(link, key), { concurrency: RELEASED_AT_ONCE });
        }
        const reply = sum.reply(step);
        onStep({ ...reply.counts, action: request.action, workflowId: workflowId() });
        return reply;
      });
    },

    async closeLetters(request) {
      await beating(() => closeLetters(store, request, links).catch(unreachable));
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

function workflowId(): string {
  return Context.current().info.workflowExecution!.workflowId;
}

async function beating<T>(work: () => Promise<T>): Promise<T> {
  const pulse = startPulse();
  try {
    return await work();
  } finally {
    pulse.stop();
  }
}

/** What Kafka or a Redis said is for whoever looks at the workflow; it is tried again. */
function unreachable(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  throw ApplicationFailure.retryable(message, 'DeadLettersUnreachable');
}

/** What a step comes to. */
class StepSum {
  readonly #healed: Letter[] = [];
  readonly #equal: Letter[] = [];
  readonly #discarded: Letter[] = [];
  readonly #failed: FailedLetters[] = [];
  readonly #equalKeys: EncodedKey[] = [];
  #failedAgain = 0;
  #keys = 0;

  discard(letters: readonly Letter[]): void {
    this.#discarded.push(...letters);
  }

  take(key: Buffer, letters: readonly Letter[], end: KeyEnd): void {
    this.#keys += 1;
    if (end.kind === 'failed') {
      this.#failed.push({ offsets: offsetsOf(letters), error: end.error, attempts: end.attempts });
      this.#failedAgain += letters.length;
    } else if (end.kind === 'equal') {
      this.#equal.push(...letters);
      if (this.#equalKeys.length < MOST_NAMED) this.#equalKeys.push(encodeKey(key));
    } else this.#healed.push(...letters);
  }

  reply(step: Awaited<ReturnType<typeof readStep>>): TryLettersReply {
    const { passed, ends, isLast, unusable, exhausted } = step;
    const [healed, alreadyEqual, failedAgain, discarded] = [
      this.#healed.length,
      this.#equal.length,
      this.#failedAgain,
      this.#discarded.length,
    ];
    const redriven = healed + alreadyEqual + failedAgain;
    const seen = redriven + discarded + unusable + exhausted;
    const ended = { healed: this.#healed, equal: this.#equal, discarded: this.#discarded };
    return {
      passed,
      ends,
      isLast,
      counts: { seen, redriven, healed, alreadyEqual, failedAgain, discarded, unusable, exhausted, keys: this.#keys },
      resolved: Object.entries(ended)
        .filter(([, letters]) => letters.length > 0)
        .map(([end, letters]) => ({ end: end as ResolvedLetters['end'], offsets: offsetsOf(letters) })),
      failed: this.#failed,
      equalKeys: this.#equalKeys,
    };
  }
}
