/** What the workflow `notices` asks for. */
import { ApplicationFailure } from '@temporalio/common';
import type { Notice, NoticesActivities } from '../workflows/notices-messages.js';
import { beating } from './pulse.js';

interface NoticesDependencies {
  /**
   * Resolves when the webhook of the link has taken it, or the link has none.
   * @throws Error in one line without a secret
   */
  readonly send: (notice: Notice) => Promise<void>;
}

export function createNoticesActivities({ send }: NoticesDependencies): NoticesActivities {
  return {
    async sendNotice(notice) {
      try {
        await beating(() => send(notice));
      } catch (error) {
        // The cause stays in the worker.
        throw ApplicationFailure.retryable((error as Error).message, 'WebhookFailed');
      }
    },
  };
}
