/**
 * The contract of the `notices` workflow: what is to be told of a link to another service,
 * gathered, so that one cause is one message and not one for each key.
 */
import { defineQuery, defineSignal } from './definitions.js';
import type { OutageStatus } from './outage-messages.js';

/** The workflow type, as it stands in the Web UI. */
export const NOTICES_TYPE = 'notices';

/** Keys of one link that were escalated with the same error. Times are ISO 8601, UTC. */
export interface EscalationNews {
  readonly kind: 'escalations';
  /** The type of the error. */
  readonly errorType: string;
  /** How many. One whose worker died in the midst counts twice. */
  readonly keys: number;
  readonly firstAt: string;
  readonly lastAt: string;
  /** A few of the keys, for a person: bounded, and without what would not be seen. */
  readonly examples: readonly string[];
}

/** A server of the target that does not answer (`until` is null), or does again. */
export interface OutageNews extends Omit<OutageStatus, 'link'> {
  readonly kind: 'outage';
}

export type News = EscalationNews | OutageNews;

/** One message. */
export type Notice = News & {
  /** The same however often it is sent. */
  readonly id: string;
  readonly link: string;
};

export interface NoticesInput {
  readonly link: string;
  /** How long equal escalations are gathered, in ms. */
  readonly gatherMs: number;
  /** Of the run before this one. */
  readonly carried?: NoticesState | undefined;
}

/** What waits to be told. Plain data, bounded. Times in ms since the epoch. */
export interface NoticesState {
  /** Each with when its first message is due. */
  readonly waiting: readonly { readonly news: News; readonly dueAt: number }[];
  /** How often the webhook has refused what waits, by its name. */
  readonly refused?: Readonly<Record<string, number>> | undefined;
  /** Messages that were made. */
  readonly made: number;
  readonly sent: number;
  readonly lastSentAt: number | null;
  /** Since when, and why, the webhook takes nothing; null: as far as is known it does. */
  readonly failing: Failing | null;
  /** Beginnings and ends of outages that were told, the latest last. */
  readonly told: readonly string[];
}

interface Failing {
  readonly since: number;
  readonly reason: string;
  readonly tries: number;
  readonly nextAt: number;
  /** Since when no worker that was asked has known a webhook of the link. */
  readonly noWebhookSince?: number | undefined;
}

/** The answer to the query `status`, and the result of the workflow. Times are ISO 8601, UTC. */
export interface NoticesStatus {
  readonly link: string;
  readonly waiting: readonly News[];
  readonly sent: number;
  readonly lastSentAt: string | null;
  readonly failing: { readonly since: string; readonly reason: string } | null;
  /** When it sends next; null: now, or nothing waits. */
  readonly nextTry: string | null;
}

/** Never begins as the ID of a key does. */
export function noticesWorkflowId(link: string): string {
  return `keymend/notices/${link}`;
}

/** By a worker: what has happened. */
export const happened = defineSignal<[readonly News[]]>('happened');
/** Sends now what waits. */
export const retry = defineSignal<[]>('retry');
export const status = defineQuery<NoticesStatus>('status');

/** What the workflow asks of its activities. */
export interface NoticesActivities {
  /**
   * Resolves when the webhook has taken it, or with `left-out` when the link has none any more.
   * @param noWebhookSince see `Failing`
   * @throws ApplicationFailure of the type `NoWebhook` where only this worker may know none
   */
  sendNotice(notice: Notice, noWebhookSince?: number): Promise<'left-out' | undefined>;
}

/** The worker has no webhook for the link. In a rolling deployment another one has. */
export const NO_WEBHOOK = 'NoWebhook';
