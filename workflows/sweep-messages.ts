/** The contract of the `sweep` workflow: one full comparison of a link, both ways. */
import { defineQuery, defineSignal } from '@temporalio/workflow';
import type { EncodedKey } from './failed-write.js';

/** The workflow type, as it stands in the Web UI. */
export const SWEEP_TYPE = 'sweep';

/** How a key can differ on the target. `extra`: the target alone has it. */
export const DIFFERENCES = ['missing', 'extra', 'type', 'value', 'expiry'] as const;
export type DifferenceKind = (typeof DIFFERENCES)[number];
type DifferenceCounts = Readonly<Record<DifferenceKind, number>>;

/** What is to be compared, and how. Nothing: all keys, gently, without repair. */
export interface SweepOptions {
  /** Keys of this pattern alone, as MATCH of Redis takes it. */
  readonly match?: string | undefined;
  /** Keys of this type alone, as TYPE of Redis says it. */
  readonly type?: string | undefined;
  /** A random part of the keys alone: 0.01 is one of a hundred. */
  readonly sample?: number | undefined;
  /** These alone. */
  readonly keys?: readonly EncodedKey[] | undefined;
  /** Make the target equal, within the budget of the link. */
  readonly repair?: boolean | undefined;
  /** At most so many keys a second. */
  readonly rate?: number | undefined;
}

/** With how many keys were given in place of these. */
export interface AskedOptions extends Omit<SweepOptions, 'keys'> {
  readonly keys?: number | undefined;
}

/** Kept beside a sweep, for whoever wants to join it. */
export interface SweepMemo {
  readonly options: AskedOptions;
}

export function askedOf({ keys, ...options }: SweepOptions): AskedOptions {
  return keys === undefined ? options : { ...options, keys: keys.length };
}

export interface SweepInput {
  readonly link: string;
  /**
   * How long writes in flight need, in ms: a difference counts if it is there so much later.
   * Default: as for a link whose configuration says nothing.
   */
  readonly settleMs?: number | undefined;
  readonly options?: SweepOptions | undefined;
  /** How many events a run has at most, for tests. Default: as many as the server suggests. */
  readonly historyEventsPerRun?: number | undefined;
  /** Of the run before this one. */
  readonly carried?:
    | { readonly state: SweepState | undefined; readonly progress: SweepProgress; readonly sweepId: string }
    | undefined;
}

/** A key that differs. */
export interface ListedDifference extends EncodedKey {
  readonly difference: DifferenceKind;
  readonly repaired?: true;
}

/** What was found so far. Plain data, bounded. */
export interface SweepTally {
  readonly differing: DifferenceCounts;
  /** Of these. */
  readonly repaired: number;
  /** Keys that changed at each look: nothing is known of them. */
  readonly unsettled: number;
  /** Keys that could not be compared, or not repaired. */
  readonly failed: number;
  /** Why, a few lines. */
  readonly reasons: readonly string[];
  /** How many differ, by what their keys begin with. */
  readonly prefixes: Readonly<Record<string, number>>;
  readonly listed: readonly ListedDifference[];
}

/** The part of one server in a sweep. */
export interface SweepPart {
  /** Whose keys are gone through; `keys`: those that were given. */
  readonly side: 'source' | 'target' | 'keys';
  readonly place: string;
  /** The process: a cursor is worth nothing to another one. */
  readonly server: string;
  readonly slots: string;
  /** A digest of the processes of the other side: what another one has was not compared. */
  readonly others: string;
  /** Keys it had when its part began. */
  readonly keys: number;
  readonly cursor: string;
  readonly done: boolean;
  /** Keys gone through, own ones too, about: with a pattern or type they are not counted. */
  readonly passed: number;
  /** Of these keymend's own. */
  readonly own: number;
  /** Keys compared, or looked for on the source. */
  readonly compared: number;
  /** When the first of them expires, in ms since the epoch; 0: unknown, null: none does. */
  readonly soonestExpiry: number | null;
  readonly tally: SweepTally;
}

/** How far a sweep is, to go on from there. */
export interface SweepState {
  readonly parts: readonly SweepPart[];
  /** Parts that were begun anew, because their server had become another. */
  readonly redone: number;
  /** null: not decided yet. */
  readonly targetOnly: SweepSummary['targetOnly'] | null;
}

/** `equal`: also what is so by repair. `incomplete`: no difference, but not all was compared. */
export type SweepOutcome = 'equal' | 'divergent' | 'incomplete';

export interface SweepSummary extends Omit<SweepTally, 'prefixes'> {
  readonly outcome: SweepOutcome;
  /** Keys of the source that were compared. */
  readonly compared: number;
  /** The worst first. */
  readonly prefixes: readonly { readonly prefix: string; readonly keys: number }[];
  /**
   * How keys that the target alone has were looked for. `counted`: there is none, for it has as
   * many as the source, which were all found. `skipped`: not at all.
   */
  readonly targetOnly: 'counted' | 'scanned' | 'skipped';
  /** Servers whose part was begun anew. */
  readonly redone: number;
  /** Of a sample: at most this part of all keys differs, in 95 of 100 samples. */
  readonly atMost?: number;
}

/** The result of the workflow. */
export interface SweepResult extends SweepSummary {
  readonly link: string;
  readonly options: AskedOptions;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly finishedAt: string;
}

/** What the activity tells now and then. */
export interface SweepReached {
  readonly percent: number;
  readonly etaSeconds: number | null;
  readonly compared: number;
  readonly differing: DifferenceCounts;
  readonly repaired: number;
  readonly unsettled: number;
  readonly failed: number;
}

/** The answer to the query `progress`. */
export interface SweepProgress extends SweepReached {
  readonly link: string;
  readonly options: AskedOptions;
  readonly state: 'comparing' | 'paused' | 'done';
  /** ISO 8601, UTC. */
  readonly startedAt: string;
}

/** Never begins as the ID of a key does. */
export function sweepWorkflowId(link: string): string {
  return `keymend/sweep/${link}`;
}

/** Nothing more is compared until `resume`. */
export const pause = defineSignal('pause');
export const resume = defineSignal('resume');
export const rate = defineSignal<[RateRequest]>('rate');
/** By the activity. */
export const reached = defineSignal<[SweepReached]>('reached');
export const progress = defineQuery<SweepProgress>('progress');

interface RateRequest {
  /** null: the gentle default. */
  readonly keysPerSecond: number | null;
}

export interface CompareLinkRequest {
  readonly link: string;
  readonly settleMs: number;
  readonly options: SweepOptions;
  /** What an earlier activity of the same sweep has returned. */
  readonly state: SweepState | undefined;
}

/** `summary`: null when it was cancelled before its end. */
export interface CompareLinkReply {
  readonly state: SweepState;
  readonly summary: SweepSummary | null;
}

/** What the workflow asks of its activities. */
export interface SweepActivities {
  compareLink(request: CompareLinkRequest): Promise<CompareLinkReply>;
}
