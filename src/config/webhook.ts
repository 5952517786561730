/** `links[].escalation.webhook` of keymend.yaml: who is told of escalations and outages. */
import { z } from 'zod';
import { duration } from './values.js';

const FORMATS = ['json', 'slack', 'pagerduty', 'alertmanager'] as const;
const LONGEST_TIMEOUT_MS = 30_000;
const LONGEST_GATHER_MS = 600_000;

/** No message of it has the url in it, which may be a secret. */
export const webhookOptions = z
  .strictObject({
    url: z.string().describe('Where messages go, `https://…`.'),
    secret: z
      .string()
      .min(1)
      .optional()
      .describe('Signs each message; with `pagerduty` it is the integration key. `json` and `pagerduty` need it.'),
    format: z.enum(FORMATS).default('json').describe('Who is to understand the message.'),
    allowedHosts: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('Where messages may go: hosts, or `*.` and a domain. By default the host of `url`.'),
    allowPrivate: z
      .boolean()
      .default(false)
      .describe('Messages may also go to addresses of private networks, and there without TLS.'),
    timeout: duration
      .refine((ms) => ms >= 100 && ms <= LONGEST_TIMEOUT_MS, 'must be between 100ms and 30s')
      .prefault('10s')
      .describe('How long one message may take, 100ms to 30s.'),
    gather: duration
      .refine((ms) => ms >= 100 && ms <= LONGEST_GATHER_MS, 'must be between 100ms and 10m')
      .prefault('1m')
      .describe('For so long equal escalations are gathered into one message, 100ms to 10m.'),
  })
  .superRefine(({ url, secret, format, allowedHosts, allowPrivate }, context) => {
    const issue = (field: string, message: string) => context.addIssue({ code: 'custom', path: [field], message });
    const problem = problemOf(url, allowPrivate, allowedHosts);
    if (problem !== null) issue('url', problem);
    if (secret !== undefined) return;
    if (format === 'json') issue('secret', 'is missing; messages are signed with it, so that the receiver knows them');
    if (format === 'pagerduty') issue('secret', 'is missing; it is the integration key of the PagerDuty service');
  });

function problemOf(text: string, allowPrivate: boolean, allowedHosts: readonly string[] | undefined): string | null {
  if (!URL.canParse(text)) return 'is no url; write https://host/path';
  const { protocol, username, password, hostname } = new URL(text);
  if (protocol === 'http:' && !allowPrivate) {
    return 'is not https; without TLS a message goes only within a private network: allowPrivate: true';
  }
  if (protocol !== 'https:' && protocol !== 'http:') return 'is not https://…';
  if (username !== '' || password !== '') return 'has a user or password in it, which is not sent; sign with secret';
  if (allowedHosts !== undefined && !allowedHosts.some((allowed) => matches(hostname, allowed))) {
    return 'is of a host that allowedHosts does not have';
  }
  return null;
}

function matches(host: string, allowed: string): boolean {
  const pattern = allowed.toLowerCase();
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}
