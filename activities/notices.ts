/** What the workflow `notices` asks for. */
import { ApplicationFailure } from '@temporalio/common';
import { NO_WEBHOOK, type Notice, type NoticesActivities } from '../workflows/notices-messages.js';
import { beating } from './pulse.js';
import { isRemoved } from './unknown-link.js';

interface NoticesDependencies {
  /**
   * Resolves when the webhook of the link has taken it, or at once where this worker knows none.
   * @throws Error in one line without a secret
   */
  readonly send: (notice: Notice) => Promise<'taken' | 'no-webhook'>;
}

export function createNoticesActivities({ send }: NoticesDependencies): NoticesActivities {
  return {
    async sendNotice(notice, noWebhookSince) {
      const outcome = await beating(() => send(notice)).catch((error: Error) => {
        // The cause stays in the worker.
        throw ApplicationFailure.retryable(error.message, 'WebhookFailed');
      });
      if (outcome === 'taken') return undefined;
      // A worker that is older than the webhook must not take its messages away.
      if (noWebhookSince !== undefined && isRemoved({ unknownSince: noWebhookSince })) return 'left-out';
      const message = `link "${notice.link}" has no webhook in the configuration of this worker; another worker is asked`;
      throw ApplicationFailure.retryable(message, NO_WEBHOOK);
    },
  };
}
