/** The formats by their names in the configuration: a further one is a file, and a line here. */
import type { Notice } from '../../../workflows/notices-messages.js';
import type { WebhookConfig } from '../../config.js';
import { asAlerts } from './alertmanager.js';
import { asJson } from './json.js';
import { asPagerDuty } from './pagerduty.js';
import { asSlack } from './slack.js';

/** What is sent, before it is made JSON. */
export function bodyOf({ format, secret = '' }: WebhookConfig, notice: Notice): object {
  switch (format) {
    case 'json':
      return asJson(notice);
    case 'slack':
      return asSlack(notice);
    case 'pagerduty':
      return asPagerDuty(notice, secret);
    case 'alertmanager':
      return asAlerts(notice, Date.now());
  }
}
