/** `links[].escalation.webhook`: what is refused, and with which line. */
import { expect, it, test } from 'vitest';
import { parseConfig } from '../../src/config.js';

function parse(webhook: object, environment: NodeJS.ProcessEnv = {}) {
  const links = [{ name: 'l', source: { url: 'redis://a' }, target: { url: 'redis://b' }, escalation: { webhook } }];
  return parseConfig(JSON.stringify({ intake: 'redis-stream', links }), 'keymend.yaml', environment).links[0]!;
}

const URL = 'https://hooks.example/T0/S3CRET';

it('has defaults for all but url and secret', () => {
  expect(parse({ url: URL, secret: 's' }).escalation.webhook).toEqual({
    url: URL,
    secret: 's',
    format: 'json',
    allowPrivate: false,
    timeout: 10_000,
    gather: 60_000,
  });
});

it('takes url and secret from the environment', () => {
  const environment = { HOOK: URL, KEY: 'k' };
  const { escalation } = parse({ url: '${HOOK}', secret: '${KEY}', format: 'pagerduty' }, environment);
  expect(escalation.webhook).toMatchObject({ url: URL, secret: 'k' });
});

it.each([['hooks.example'], ['*.example'], ['HOOKS.example']])('a host that %s allows is taken', (allowed) => {
  expect(() => parse({ url: URL, secret: 's', allowedHosts: ['other', allowed] })).not.toThrow();
});

const PLACE = 'links[0].escalation.webhook';
test.each<[string, object, string]>([
  ['no url', { url: 'hooks', secret: 's' }, `${PLACE}.url: is no url; write https://host/path`],
  ['another scheme', { url: 'ftp://hooks.example', secret: 's' }, `${PLACE}.url: is not https://…`],
  [
    'no TLS',
    { url: 'http://hooks.example', secret: 's' },
    `${PLACE}.url: is not https; without TLS a message goes only within a private network: allowPrivate: true`,
  ],
  [
    'a password',
    { url: 'https://u:S3CRET@hooks.example', secret: 's' },
    `${PLACE}.url: has a user or password in it, which is not sent; sign with secret`,
  ],
  [
    'a host that is not allowed',
    { url: URL, secret: 's', allowedHosts: ['example', '*.hooks.example'] },
    `${PLACE}.url: is of a host that allowedHosts does not have`,
  ],
  [
    'no secret',
    { url: URL },
    `${PLACE}.secret: is missing; messages are signed with it, so that the receiver knows them`,
  ],
  [
    'no integration key',
    { url: URL, format: 'pagerduty' },
    `${PLACE}.secret: is missing; it is the integration key of the PagerDuty service`,
  ],
  [
    'another format',
    { url: URL, secret: 's', format: 'teams' },
    `${PLACE}.format: Invalid option: expected one of "json"|"slack"|"pagerduty"|"alertmanager"`,
  ],
  ['too much patience', { url: URL, secret: 's', timeout: '1m' }, `${PLACE}.timeout: must be between 100ms and 30s`],
  [
    'a word that it does not know',
    { url: URL, secret: 's', secrets: 'x' },
    `unknown key "${PLACE}.secrets", did you mean`,
  ],
])('%s is refused, in one line that does not tell the url', (_what, webhook, line) => {
  const refusal = (() => {
    try {
      parse(webhook);
    } catch (error) {
      return (error as Error).message;
    }
  })();
  expect(refusal).toContain(`keymend.yaml: ${line}`);
  expect(refusal).not.toContain('S3CRET');
});
