/** The contract of the `sweep` workflow: one full comparison of a link, both ways. */
import { defineQuery, defineSignal } from './definitions.js';
import type { EncodedKey } from './failed-write.js';

/** The workflow type, as it stands in the Web UI. */
export const SWEEP_TYPE = 'sweep';

/** How a key can differ on the target. `extra`: the target alone has it. */
export const DIFFERENCES = ['missing', 'extra', 'type', 'value', 'expiry'] as const;
export type DifferenceKind = (typeof DIFFERENCES)[number];
type DifferenceCounts = Readonly<Record<DifferenceKind, number>>;
/** Those that are left out are 0. */
type SomeCounts = Partial<DifferenceCounts>;

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
  /** Where pages are read; masters decide in either case. Default: at masters. */
  readonly readFrom?: 'replica' | undefined;
  /** Hand over to batches what differs, which make the target equal within the budget. */
  readonly repair?: boolean | undefined;
  /** At most so many keys a second. */
  readonly rate?: number | undefined;
  /** Of a sample of a cache: look at what differs again, minutes later, and say `consistent`. */
  readonly aged?: boolean | undefined;
}

/** Whether all there is is compared, so that what was lost has to show. */
export function comparesAll({ match, type, sample, keys }: SweepOptions | AskedOptions): boolean {
  return [match, type, sample, keys].every((part) => part === undefined);
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

/** A key that differs. Times are ISO 8601, UTC. */
export interface ListedDifference extends EncodedKey {
  readonly difference: DifferenceKind;
  /** When that was sure. */
  readonly foundAt?: string;
  /** The position of the batch that it was handed over to. */
  readonly batch?: number;
  readonly repaired?: true;
  /** When its batch had ended, with all of its keys equal. */
  readonly healedAt?: string;
}

/** How many keys when, in ms since the epoch, the first one first. Bounded. */
export type Timeline = readonly { readonly at: number; readonly keys: number }[];

interface WentOn extends EncodedKey {
  /** In ms since the epoch. */
  readonly healedAtMs?: number;
}

/** What was handed over to batches, and what became of it. */
export interface SweepRepairs {
  /** Keys; also the position of the next batch. */
  readonly handedOver: number;
  readonly open: readonly { readonly id: string; readonly first: number; readonly keys: number }[];
  readonly healed: number;
  /** Keys that went on as workflows of their own, or whose batch was ended by somebody. */
  readonly unhealed: number;
  /** Those of them that are known, with when they were found equal after all. Bounded. */
  readonly wentOn: readonly WentOn[];
  readonly healedWhen: Timeline;
  /** Of which all keys are: position, and when, in ms since the epoch. The first ones. */
  readonly healedBatches: readonly (readonly [first: number, atMs: number])[];
}

/** What was found so far. Plain data, bounded. */
export interface SweepTally {
  readonly differing: DifferenceCounts;
  /** Of these, to batches. */
  readonly handedOver: number;
  /** When they were found. */
  readonly found: Timeline;
  /** Keys that changed at each look: nothing is known of them. */
  readonly unsettled: number;
  /** Keys that could not be compared, or not repaired. */
  readonly failed: number;
  /** Why, a few lines. */
  readonly reasons: readonly string[];
  /** How many differ in what, by what their keys begin with. */
  readonly prefixes: Readonly<Record<string, SomeCounts>>;
  readonly listed: readonly ListedDifference[];
  /** Of a sample: how often it has met one that is listed again. Those differ each time. */
  readonly again?: number;
}

/** The part of one server in a sweep. */
export interface SweepPart {
  /**
   * Whose keys are gone through; `cache`: those of a target that caches rows of a database; `keys`:
   * those that were given.
   */
  readonly side: 'source' | 'target' | 'cache' | 'keys';
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
  /** Of these keymend's own, and those that no mapping takes. */
  readonly own: number;
  /** Of a cache the latter alone; absent: of a sweep of an earlier version. */
  readonly untaken?: number;
  /** Keys compared, or looked for on the source. */
  readonly compared: number;
  /**
   * When the first of them, or of their fields, expires, in ms since the epoch; 0: unknown, null:
   * none does.
   */
  readonly soonestExpiry: number | null;
  readonly tally: SweepTally;
}

/** Of what was listed as differing, so much was not known to be right so long after that. */
export interface Aged {
  readonly withinMs: number;
  readonly stale: number;
  readonly listed: number;
}

/** How far a sweep is, to go on from there. */
export interface SweepState {
  readonly parts: readonly SweepPart[];
  /** Parts that were begun anew, because their server had become another. */
  readonly redone: number;
  /** Where replicas are to be read: as of `SweepSummary`. */
  readonly readFrom?: SweepSummary['readFrom'] & {};
  /** Keys that the target had at the beginning. */
  readonly targetKeys?: number;
  /** Without it: none. */
  readonly repairs?: SweepRepairs;
  /** Of those looks that are done. */
  readonly aged?: readonly Aged[];
  /** null: not decided yet. */
  readonly targetOnly: SweepSummary['targetOnly'] | null;
}

/** `equal`: also what is so by repair. `incomplete`: no difference, but not all was compared. */
export type SweepOutcome = 'equal' | 'divergent' | 'incomplete';

export interface SweepSummary extends Omit<SweepTally, 'prefixes' | 'found'> {
  readonly outcome: SweepOutcome;
  /** Of those that were handed over: equal when their batches had ended. */
  readonly repaired: number;
  /** The others of these: they went on as workflows of their own. */
  readonly unhealed: number;
  /** When how many keys were found to differ, and were healed. */
  readonly timeline: { readonly found: Timeline; readonly healed: Timeline };
  /** Keys of both sides together that were compared, those of the target alone too. */
  readonly compared: number;
  /** The worst first. */
  readonly prefixes: readonly { readonly prefix: string; readonly keys: number; readonly differing: SomeCounts }[];
  /**
   * How keys that the target alone has were looked for. `counted`: there is none, for it has as
   * many as the source, which were all found. `skipped`: not at all.
   */
  readonly targetOnly: 'counted' | 'scanned' | 'skipped';
  /** Servers whose part was begun anew. */
  readonly redone: number;
  /** Where replicas were to be read: how many were, and how many masters that have none. */
  readonly readFrom?: { readonly replicas: number; readonly masters: number };
  /** Of a sample: at most this part of all keys differs, in 95 of 100 samples. */
  readonly atMost?: number;
  /**
   * Of a sample of a cache, where that was asked: this part of its values, at least, was as their
   * rows say, or became so within that time.
   */
  readonly consistent?: readonly { readonly withinSeconds: number; readonly part: number }[] | undefined;
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
  /** To batches, and of these those that are healed. */
  readonly handedOver?: number;
  readonly repaired: number;
  readonly unsettled: number;
  readonly failed: number;
}

/** The answer to the query `progress`. */
export interface SweepProgress extends SweepReached {
  readonly link: string;
  readonly options: AskedOptions;
  readonly state: 'comparing' | 'paused' | 'done';
  /** What keeps it from going on; it is tried again. null: nothing does. */
  readonly problem?: string | null;
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
/** By the activity: what keeps it from going on, until it tells of how far it is. */
export const troubled = defineSignal<[string]>('troubled');
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
  /** The first run of the sweep: what it hands over has that in its IDs. */
  readonly sweepId?: string;
}

/** `summary`: null when it was cancelled before its end. */
export interface CompareLinkReply {
  readonly state: SweepState;
  readonly summary: SweepSummary | null;
}

/** What the workflow asks of its activities. */
export interface SweepActivities {
  compareLink(request: CompareLinkRequest): Promise<CompareLinkReply>;
  /** @returns what `compareLink` of this workflow has told by a heartbeat; null: nothing yet */
  lastReached(): Promise<SweepState | null>;
  startSweep(input: ScheduledSweepInput): Promise<ScheduledSweepResult>;
}

/** The workflow type that a schedule starts. */
export const SCHEDULED_SWEEP_TYPE = 'scheduledSweep';

export interface ScheduledSweepInput {
  readonly link: string;
  readonly options: SweepOptions;
}

/** `joined`: one was under way, and goes on alone. */
export interface ScheduledSweepResult {
  readonly workflowId: string;
  readonly sweep: 'started' | 'joined';
}
