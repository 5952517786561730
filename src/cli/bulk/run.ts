/**
 * Tells many keys something, one after the other. What was reached is kept by the workflows
 * themselves: the same call once more goes on, and tells nobody what would do harm a second time.
 */
import { pMapIterable } from 'p-map';
import type { Config } from '../../config.js';
import { showProgress } from '../../demo/progress.js';
import { counted } from '../../plural.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { turns } from './pace.js';
import type { Selection, Target } from './selection.js';
import { ToldKeys } from './told-keys.js';

/** What an attempt that was heard of at once has come to: its outcome, or the type of its error. */
export interface ToldEnd {
  readonly done?: string;
  readonly failed?: string;
}

/** What telling one has come to: `told`, or why it was not told. */
export type Answer =
  | ({ readonly kind: 'told'; readonly wasEscalated: boolean } & ToldEnd)
  /** Nothing is under way for it, or not any more what was meant. */
  | { readonly kind: 'gone' }
  /** Nobody took it: the workflow of this one may be stuck, or no worker is there. */
  | { readonly kind: 'unanswered'; readonly why: string; readonly isStuck: boolean }
  | { readonly kind: 'refused'; readonly why: string };

interface Telling {
  /** Keys a second; undefined: as fast as it goes. */
  readonly rate: number | undefined;
  /** "try again": what they are told, for a person. */
  readonly verb: string;
  tell(target: Target): Promise<Answer>;
}

export interface Told {
  readonly keys: ToldKeys;
  readonly gone: number;
  /** Told nothing, for their workflows are not for the workers of this configuration. */
  readonly refused: number;
  readonly firstRefused: {
    readonly workflowId: string;
    readonly taskQueue: string | null;
    readonly why: string;
  } | null;
  /** Asked, and not taken: what they were asked is not kept. */
  readonly unanswered: number;
  readonly firstUnanswered: { readonly workflowId: string; readonly why: string } | null;
  /** Of those that had an answer at once, by its word. */
  readonly done: Readonly<Record<string, number>>;
  /** Of those whose attempt had failed at once, by the type of its error. */
  readonly failed: Readonly<Record<string, number>>;
  readonly wereEscalated: number;
  readonly begunAt: Date;
}

const CONCURRENCY = 16;
const ASKED = 3;
/** So many without an answer one after the other: it is the worker that is missing. */
const UNANSWERED_IN_A_ROW = 5;
const SHOWN = 10;
/** What is over by then needs no progress. */
const SHOWN_AFTER_MS = 2_000;

/** @throws VerbError for what is no rate */
export function rateOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const rate = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && rate > 0) return rate;
  throw new VerbError(`--rate ${text}: give a number above 0, for example 50`, EXIT.usage);
}

/** Says which keys are meant. Bounded: the first ones, and how many there are. */
export async function dryRun(global: GlobalOptions, selection: Selection, verb: string): Promise<void> {
  const first: string[] = [];
  let keys = 0;
  const progress = progressOf(() => `${counted(keys, 'key')} found`);
  try {
    for await (const { workflowId } of selection.targets) {
      keys += 1;
      if (first.length < SHOWN) first.push(workflowId);
    }
  } finally {
    progress.stop();
  }
  print(global, { dryRun: true, keys, first }, () => [
    `${counted(keys, 'key')} would be told to ${verb}; nothing was told to anybody`,
    ...first.map((workflowId) => `  ${workflowId}`),
    ...(keys > first.length ? [`  and ${keys - first.length} more`] : []),
  ]);
}

/** @throws VerbError where one can't be told, or nobody answers; those before it were */
export async function tellAll(config: Config, selection: Selection, { rate, verb, tell }: Telling): Promise<Told> {
  const tally = new Tally();
  const turn = turns(rate);
  const ours = config.temporal.taskQueue;
  const tellInTurn = async (target: Target): Promise<readonly [Target, Answer]> => {
    await turn();
    // Those whose queue nobody of this configuration reads are told nothing.
    if (target.taskQueue !== null && target.taskQueue !== ours) return [target, { kind: 'refused', why: '' }];
    return [target, await tell(target)];
  };
  const { keys } = tally;
  const progress = progressOf(() => `told ${counted(keys.size, 'key')} to ${verb}`);
  try {
    for await (const [target, answer] of pMapIterable(selection.targets, tellInTurn, { concurrency: CONCURRENCY }))
      tally.note(target, answer);
  } catch (error) {
    if (!(error instanceof VerbError) || keys.size === 0) throw error;
    const before = `${counted(keys.size, 'key was', 'keys were')} told before; the same call can be made once more`;
    throw new VerbError(`${error.message}. ${before}`, error.exitCode);
  } finally {
    progress.stop();
  }
  return tally;
}

class Tally implements Told {
  readonly keys = new ToldKeys(ASKED);
  readonly done: Record<string, number> = {};
  readonly failed: Record<string, number> = {};
  readonly begunAt = new Date();
  gone = 0;
  refused = 0;
  firstRefused: Told['firstRefused'] = null;
  unanswered = 0;
  firstUnanswered: Told['firstUnanswered'] = null;
  wereEscalated = 0;
  #unansweredInARow = 0;

  /** @throws VerbError where nobody answers any more */
  note({ workflowId, taskQueue }: Target, answer: Answer): void {
    if (answer.kind === 'gone') this.gone += 1;
    else if (answer.kind === 'refused') {
      this.refused += 1;
      this.firstRefused ??= { workflowId, taskQueue, why: answer.why };
    } else if (answer.kind === 'unanswered') {
      this.unanswered += 1;
      this.firstUnanswered ??= { workflowId, why: answer.why };
      // A worker fails with one that is stuck, so there is one.
      this.#unansweredInARow = answer.isStuck ? 0 : this.#unansweredInARow + 1;
      if (this.#unansweredInARow < UNANSWERED_IN_A_ROW) return;
      const before = `${counted(UNANSWERED_IN_A_ROW - 1, 'other')} right before it`;
      throw new VerbError(`workflow ${workflowId} was asked, and ${before}, but ${answer.why}`);
    } else {
      this.#unansweredInARow = 0;
      this.keys.add(workflowId);
      if (answer.wasEscalated) this.wereEscalated += 1;
      if (answer.done !== undefined) this.done[answer.done] = (this.done[answer.done] ?? 0) + 1;
      if (answer.failed !== undefined) this.failed[answer.failed] = (this.failed[answer.failed] ?? 0) + 1;
    }
  }
}

/** Nothing for what takes no time; then as ever. */
export function progressOf(text: () => string): { stop(): void } {
  let progress: ReturnType<typeof showProgress> | undefined;
  const timer = setTimeout(() => {
    progress = showProgress(text, report);
  }, SHOWN_AFTER_MS);
  return {
    stop() {
      clearTimeout(timer);
      progress?.stop();
    },
  };
}
