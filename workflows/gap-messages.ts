/**
 * The contract of the `gap` workflow: failed writes of a link that are known to be lost, shown
 * until somebody has dealt with them.
 */
import { defineQuery, defineSignal } from './definitions.js';

/** The workflow type, as it stands in the Web UI. */
export const GAP_TYPE = 'gap';

/** Failed writes that were noticed to be lost or unreadable. */
export interface Gap {
  /** The same gap noticed twice has the same. */
  readonly id: string;
  /**
   * `removed`: by retention or by hand, before they were read. `unreadable`: damaged, or compressed
   * in an unknown way. `recreated`: the topic was deleted and made anew, or cut at its end; or an
   * outbox was deleted. `ended`: a batch was, by hand, before its keys were healed.
   */
  readonly cause: 'removed' | 'unreadable' | 'recreated' | 'ended';
  /** How many at most; null: unknown. */
  readonly records: number | null;
  /** One line for a person: where, how many, why. */
  readonly message: string;
  /** ISO 8601, UTC. */
  readonly noticedAt: string;
}

/** A gap before anybody was told of it. */
export type NoticedGap = Omit<Gap, 'noticedAt'>;

export interface GapInput {
  readonly link: string;
  /** Of the run before this one. */
  readonly carried?:
    | (Pick<GapStatus, 'gaps' | 'more' | 'records'> & {
        readonly sweeps?: readonly string[] | undefined;
        /** Ids of gaps that are not among these, oldest first; of many only the newest. */
        readonly others?: readonly string[] | undefined;
      })
    | undefined;
}

/** The answer to the query `status`, and the result of the workflow. */
export interface GapStatus {
  readonly link: string;
  readonly state: 'open' | 'acknowledged';
  /** The first ones, at most a hundred. */
  readonly gaps: readonly Gap[];
  /** How many there are beside these. */
  readonly more: number;
  /** How many records all of them are at most; null: unknown. */
  readonly records: number | null;
  /** Why it was closed; null: it is open. */
  readonly reason: string | null;
}

/** `acknowledge`: somebody has dealt with what is lost, or can live with it. */
export interface AcknowledgeRequest {
  readonly reason: string;
  /**
   * It is the word of a sweep: that holds only if the sweep told of its beginning, and nothing was
   * lost since.
   */
  readonly sweepId?: string | undefined;
}

/** A comparison of all keys begins. */
export interface SweepingRequest {
  readonly sweepId: string;
  /** Its own: one of another keymend in the namespace compares other servers. Absent: not told. */
  readonly taskQueue?: string | undefined;
}

/** Never begins as the ID of a key does. */
export function gapWorkflowId(link: string): string {
  return `keymend/gap/${link}`;
}

export const lost = defineSignal<[Gap[]]>('lost');
export const sweeping = defineSignal<[SweepingRequest]>('sweeping');
export const acknowledge = defineSignal<[AcknowledgeRequest]>('acknowledge');
export const status = defineQuery<GapStatus>('status');
