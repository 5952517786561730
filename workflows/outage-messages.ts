/**
 * The contract of the `outage` workflow: one server of a target that does not answer, from when
 * that was noticed until it answers again.
 */
import { defineQuery, defineSignal } from './definitions.js';

/** The workflow type, as it stands in the Web UI. */
export const OUTAGE_TYPE = 'outage';

export interface OutageInput {
  readonly link: string;
  /** The server: its address, or the name of its group. */
  readonly shard: string;
  /** ISO 8601, UTC. */
  readonly since: string;
  /** What the worker that noticed met, for a person. */
  readonly reason: string;
  /** Its beginning and end are told to the webhook of the link. */
  readonly notify?: boolean | undefined;
  /** Of the run before this one: keys that wait, by worker. */
  readonly carried?: Readonly<Record<string, number>> | undefined;
}

/** The answer to the query `status`, and the result of the workflow. */
export interface OutageStatus {
  readonly link: string;
  readonly shard: string;
  /** ISO 8601, UTC. */
  readonly since: string;
  readonly reason: string;
  /** When it answered again; null: it does not. */
  readonly until: string | null;
  /** It ended because no worker knows the link any more: nobody asks whether it answers. */
  readonly isRemoved?: boolean | undefined;
  /** About: a key that another worker took over counts twice. */
  readonly keysWaiting: number;
}

/** What a worker tells, at first and now and then. */
export interface OutageReport {
  /** Its identity. */
  readonly worker: string;
  /** So many keys it has turned away since the beginning. */
  readonly keysWaiting: number;
  /** Whether the webhook of the link is told: at once, or once the outage has lasted a while. */
  readonly notify?: 'now' | 'when-long' | undefined;
}

/** Never begins as the ID of a key does. */
export function outageWorkflowId(link: string, shard: string): string {
  return `keymend/outage/${link}/${shard}`;
}

/** The link of such an ID. */
export function outageLinkOf(workflowId: string): string {
  return workflowId.split('/')[2] ?? '';
}

export const noticed = defineSignal<[OutageReport]>('noticed');
export const status = defineQuery<OutageStatus>('status');

/** What the workflow asks of its activities. */
export interface OutageActivities {
  /**
   * Resolves when the server answers, and still does a moment later; fails until then, for good
   * with `UnknownLink` where the link was removed.
   */
  answers(outage: Pick<OutageInput, 'link' | 'shard'>): Promise<void>;
  /** Tells of its beginning (`until` is null) or its end. */
  announce(outage: OutageStatus): Promise<void>;
  /** The same for the webhook of the link: resolves when its workflow `notices` knows. */
  notifyOutage(outage: OutageStatus): Promise<void>;
}
