/** A worker's word to the workflow `notices` of a link: what happened, gathered for a moment. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EscalateRequest } from '../../workflows/activities.js';
import { seen } from '../../workflows/details.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import {
  type EscalationNews,
  happened,
  type News,
  NOTICES_TYPE,
  type Notice,
  type NoticesInput,
  noticesWorkflowId,
} from '../../workflows/notices-messages.js';
import type { OutageStatus } from '../../workflows/outage-messages.js';
import { ownTeller, type TellerOptions } from '../bridge/runs/own-teller.js';
import type { LinkConfig, TracingConfig, WebhookConfig } from '../config.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { hidingKeys, type ShownKey } from '../privacy.js';
import type { WorkerMetrics } from '../telemetry/worker-metrics.js';
import { sendNotice } from '../webhook/send.js';

interface NoticesOptions extends TellerOptions {
  readonly metrics: Pick<WorkerMetrics, 'webhookAsked'>;
  readonly links: readonly LinkConfig[];
  /** A key that is named as an example is shown as in the log. Absent: as it is. */
  readonly tracing?: TracingConfig | undefined;
}

/**
 * However many keys escalate, five signals a second. Each of them waits for that in a slot for
 * activities, so not longer: other links need these, and so does the message itself.
 */
const APART_MS = 200;
const MOST_EXAMPLES = 3;
const LONGEST_EXAMPLE = 100;

/** Nothing is told of a link without a webhook. */
export class Notices {
  readonly #options: NoticesOptions;
  readonly #tell: ReturnType<typeof ownTeller>;
  readonly #shown: ShownKey | undefined;
  readonly #webhooks: ReadonlyMap<string, WebhookConfig>;
  /** Escalations of a link that go along with its next signal. */
  readonly #waiting = new Map<string, { readonly groups: Map<string, EscalationNews>; readonly told: Promise<void> }>();
  /** When the last signal of a link was sent, by `performance.now()`. */
  readonly #toldAt = new Map<string, number>();

  constructor(options: NoticesOptions) {
    this.#options = options;
    this.#tell = ownTeller(options, NOTICES_TYPE);
    this.#shown = hidingKeys(options.tracing);
    const configured = options.links.flatMap(({ name, escalation: { webhook } }) =>
      webhook === undefined ? [] : [[name, webhook] as const],
    );
    this.#webhooks = new Map(configured);
  }

  isWanted(link: string): boolean {
    return this.#webhooks.has(link);
  }

  /** @returns resolves when the workflow knows it @throws what Temporal answers otherwise */
  escalated({ event, error }: EscalateRequest): Promise<void> {
    const { link } = event;
    if (!this.isWanted(link)) return Promise.resolve();
    const next = this.#waiting.get(link) ?? this.#next(link);
    const now = new Date().toISOString();
    const group = next.groups.get(error.type);
    const example = this.#example(event).slice(0, LONGEST_EXAMPLE).toWellFormed();
    const examples = [...(group?.examples ?? []), example].slice(0, MOST_EXAMPLES);
    const keys = (group?.keys ?? 0) + 1;
    const firstAt = group?.firstAt ?? now;
    next.groups.set(error.type, { kind: 'escalations', errorType: error.type, keys, firstAt, lastAt: now, examples });
    return next.told;
  }

  /** As `escalated`, and at once. */
  async outage({ link, ...outage }: OutageStatus): Promise<void> {
    if (this.isWanted(link)) await this.#signal(link, [{ kind: 'outage', ...outage }]);
  }

  /** For the workflow: to the webhook. @throws as `sendNotice` of the webhook */
  async send(notice: Notice): Promise<'taken' | 'no-webhook'> {
    const { link, id } = notice;
    const { logger, metrics } = this.#options;
    const webhook = this.#webhooks.get(link);
    if (webhook === undefined) {
      logger.warn({ link, id }, `link ${link} has no webhook in this configuration: a message is not sent from here`);
      return 'no-webhook';
    }
    try {
      await sendNotice(webhook, notice);
      metrics.webhookAsked(link, 'sent');
      return 'taken';
    } catch (error) {
      metrics.webhookAsked(link, 'failed');
      logger.warn({ link, id }, `link ${link}: ${(error as Error).message}. It is tried again; repairs go on`);
      throw error;
    }
  }

  #example({ key, encoding = 'utf8' }: FailedWrite): string {
    if (this.#shown !== undefined) return seen(this.#shown(keyBytes({ key, encoding })));
    return encoding === 'base64' ? `base64:${key}` : seen(key);
  }

  #next(link: string) {
    const groups = new Map<string, EscalationNews>();
    const told = this.#turn(link).then(() => {
      this.#waiting.delete(link);
      return this.#signal(link, [...groups.values()]);
    });
    const next = { groups, told };
    this.#waiting.set(link, next);
    return next;
  }

  async #turn(link: string): Promise<void> {
    const now = performance.now();
    const at = Math.max(now, (this.#toldAt.get(link) ?? Number.NEGATIVE_INFINITY) + APART_MS);
    this.#toldAt.set(link, at);
    await sleep(at - now);
  }

  #signal(link: string, news: readonly News[]): Promise<void> {
    const args: [NoticesInput] = [{ link, gatherMs: this.#webhooks.get(link)!.gather }];
    return this.#tell({ link, workflowId: noticesWorkflowId(link), args, signal: happened, signalArgs: [news] });
  }
}
