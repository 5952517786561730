/** The contract of the `redrive` workflow: dead letters that are tried again, or discarded. */
import { defineQuery, defineSignal } from './definitions.js';
import type { EncodedKey } from './failed-write.js';
import type { LastError } from './messages.js';

/** The workflow type, as it stands in the Web UI. */
export const REDRIVE_TYPE = 'redrive';
/** With a ULID behind it. */
export const REDRIVE_ID_PREFIX = 'keymend/redrive/';

/** Letters that have been redriven so often are left alone: once more won't help. */
export const MOST_REDRIVES = 5;
/** Of the letters judged in a step, as a part of 1, that may fail. */
export const DEFAULT_FAILURE_RATIO = 0.2;

/** What letters are alike in. */
export interface LetterMatch {
  readonly reason?: string | undefined;
  readonly errorType?: string | undefined;
  readonly link?: string | undefined;
  /** In ms, when it is looked at. */
  readonly olderThanMs?: number | undefined;
}

/** Which letters are meant: those that all of it fits. */
export interface LetterFilter extends LetterMatch {
  /** What the key begins with. */
  readonly prefix?: string | undefined;
  /** The fingerprint of a group. */
  readonly group?: string | undefined;
  /** ISO 8601. */
  readonly since?: string | undefined;
  /** ISO 8601, not included. */
  readonly until?: string | undefined;
  /** `<part>/<offset>` of single letters. */
  readonly letters?: readonly string[] | undefined;
  /** Not those that one of these fits. */
  readonly unless?: readonly LetterMatch[] | undefined;
}

type RedriveAction = 'redrive' | 'discard';

/** Who wants it, for whoever asks later. */
export interface RedriveOrder {
  readonly action: RedriveAction;
  readonly filter: LetterFilter;
  /** A person, or a rule. */
  readonly by: string;
  readonly reason?: string | undefined;
}

export interface RedriveInput extends RedriveOrder {
  /** At most so many letters. */
  readonly max?: number | undefined;
  /** At most so many letters a second. */
  readonly rate?: number | undefined;
  /** As `DEFAULT_FAILURE_RATIO`, which is the default. */
  readonly failureRatio?: number | undefined;
  /**
   * Letters of a server that does not answer are left for another redrive. Default: it comes back
   * to them until that answers.
   */
  readonly leavesWaiting?: boolean | undefined;
  /** How many events a run has at most, for tests. Default: as many as the server suggests. */
  readonly historyEventsPerRun?: number | undefined;
  /** Of the run before this one. */
  readonly carried?: RedriveCarried | undefined;
}

/** By part of the store: the last offset that is passed, or that was there. */
export type Offsets = Readonly<Record<string, string>>;

/** What has become of letters. All count letters but for the keys. */
export interface RedriveCounts {
  /** Gone through, and meant by the filter. */
  readonly seen: number;
  /** Of these: told of by now, with one of the next three ends. */
  readonly redriven: number;
  /** Their key is repaired now. */
  readonly healed: number;
  /** Their key was equal already: resolved by that. */
  readonly alreadyEqual: number;
  /** They are letters anew, as one for each key. */
  readonly failedAgain: number;
  readonly discarded: number;
  /** Left as they are: they can't be read as a failed write, or not by this configuration. */
  readonly unusable: number;
  /** Left as they are: redriven `MOST_REDRIVES` times. */
  readonly exhausted: number;
  /** Left as they are, so far: the server of their key does not answer. */
  readonly waiting: number;
  /** How many repairs that were: the keys of the letters that were redriven. */
  readonly keys: number;
}

export const NOTHING_REDRIVEN: RedriveCounts = {
  seen: 0,
  redriven: 0,
  healed: 0,
  alreadyEqual: 0,
  failedAgain: 0,
  discarded: 0,
  unusable: 0,
  exhausted: 0,
  waiting: 0,
  keys: 0,
};

/** An error and how many letters had it. */
export interface RedriveFailure extends LastError {
  readonly letters: number;
}

interface RedriveReached {
  readonly counts: RedriveCounts;
  /** The most frequent kinds. */
  readonly failures: readonly RedriveFailure[];
  /** Some of those whose key was equal already, by name. */
  readonly equalKeys: readonly EncodedKey[];
  /** A server that does not answer, where letters wait for one. */
  readonly waitsFor: string | null;
}

export interface RedriveCarried extends RedriveReached {
  readonly redriveId: string;
  readonly startedAt: string;
  readonly passed: Offsets;
  readonly ends: Offsets | null;
  /** See `TryLettersReply`. */
  readonly storeId: string | null;
  /** How often it went through all of them and came back to those that wait. */
  readonly round: number;
  /** Of this round: letters that wait, and where the first of them is behind; null: none does. */
  readonly waiting: { readonly letters: number; readonly behind: Offsets } | null;
  readonly step: number;
  readonly state: RedriveState;
  readonly rate: number | undefined;
  /** When the rate lets the next step begin, in ms since the epoch. */
  readonly dueAt: number;
}

type RedriveState = 'running' | 'paused' | 'done';

/** The answer to the query `progress`. */
interface RedriveProgress extends RedriveReached, RedriveOrder {
  readonly state: RedriveState;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** How many letters the present step has at most. */
  readonly step: number;
}

/**
 * `stopped`: more failed than may. `cancelled`: by a person. `limited`: as many as were asked for,
 * and there are more. `waiting`: some are left, for their server does not answer.
 */
export type RedriveOutcome = 'done' | 'stopped' | 'cancelled' | 'limited' | 'waiting';

/** The result of the workflow. */
export interface RedriveResult extends RedriveReached, RedriveOrder {
  readonly redriveId: string;
  readonly outcome: RedriveOutcome;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** Letters that the filter means and that came while it ran, not its own; null: not counted. */
  readonly newMeanwhile: number | null;
}

/** Kept beside it: what stands in a list of redrives. */
export interface RedriveMemo extends RedriveOrder {}

export const pause = defineSignal('pause');
export const resume = defineSignal('resume');
export const rate = defineSignal<[{ readonly lettersPerSecond: number | null }]>('rate');
export const progress = defineQuery<RedriveProgress>('progress');

/** By part of the store. */
export type OffsetsByPart = Readonly<Record<string, readonly string[]>>;

export interface TryLettersRequest {
  readonly action: RedriveAction;
  readonly filter: LetterFilter;
  /** Behind these. */
  readonly passed: Offsets;
  /** Up to these, included; null: up to what is there now. */
  readonly ends: Offsets | null;
  /** That of the replies before; null: there is none. */
  readonly storeId: string | null;
  /** These letters may have been tried before: a write of that may be in flight. */
  readonly again: boolean;
  readonly mostKeys: number;
  readonly mostLetters: number;
}

/** Letters that are resolved by how their key is now, or discarded. */
export interface ResolvedLetters {
  readonly end: 'healed' | 'equal' | 'discarded';
  readonly offsets: OffsetsByPart;
}

/** The letters of one key that failed again. */
export interface FailedLetters {
  readonly offsets: OffsetsByPart;
  readonly error: LastError;
  readonly attempts: number;
}

export interface TryLettersReply {
  readonly passed: Offsets;
  readonly ends: Offsets;
  /** Nothing is left up to the ends. */
  readonly isLast: boolean;
  readonly counts: RedriveCounts;
  readonly resolved: readonly ResolvedLetters[];
  readonly failed: readonly FailedLetters[];
  readonly equalKeys: readonly EncodedKey[];
  /** A server that does not answer; null: those of all keys do. */
  readonly waitsFor: string | null;
  /**
   * Which topic has these offsets: one that is made anew under its name has others. null: not
   * known, or no offset ever comes again.
   */
  readonly storeId: string | null;
}

export interface CloseLettersRequest {
  readonly redriveId: string;
  readonly order: Omit<RedriveOrder, 'filter'>;
  /** Between these all of the letters are. */
  readonly passed: Offsets;
  readonly ends: Offsets;
  /** As in the reply. */
  readonly storeId: string | null;
  readonly resolved: readonly ResolvedLetters[];
  readonly failed: readonly FailedLetters[];
}

interface CountNewRequest {
  readonly filter: LetterFilter;
  /** Behind these. */
  readonly passed: Offsets;
  /** Those that it has put back are not new. */
  readonly redriveId: string;
}

/** What the workflow asks of its activities. */
export interface RedriveActivities {
  /** Tries letters, and changes none of them. Twice does no harm. */
  tryLetters(request: TryLettersRequest): Promise<TryLettersReply>;
  /** Resolves letters, and puts back those that failed. What is done of it is not done again. */
  closeLetters(request: CloseLettersRequest): Promise<void>;
  countNew(request: CountNewRequest): Promise<number>;
}
