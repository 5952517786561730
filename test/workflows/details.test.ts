import { expect, test } from 'vitest';
import { asText, describeStatus } from '../../workflows/details.js';
import type { KeyStatus } from '../../workflows/messages.js';

const STATUS: KeyStatus = {
  key: 'k',
  encoding: 'utf8',
  link: 'east-to-west',
  state: 'escalated',
  attempts: 8,
  pending: 1,
  firstFailedAt: null,
  lastFailedAt: null,
  lastOutcome: null,
  lastError: { type: 'TargetUnavailable', message: 'cannot be reached (a_b): no answer', stage: 'read' },
  nextRetry: null,
  outage: null,
  skipReason: null,
};

test.each([
  ['[x](http://evil)', '\\[x\\](http\\://evil)'],
  ['![](//evil)', '\\!\\[\\](//evil)'],
  ['<img src=x>', '\\<img src=x\\>'],
  ['see www.evil.com', 'see www\\.evil.com'],
  ['a\r\n\r\n# healed', 'a \\# healed'],
  ['**done** _x_ `y` &lt; a@b', '\\*\\*done\\*\\* \\_x\\_ \\`y\\` \\&lt; a\\@b'],
  ['\u001b]0;x\u0007\u202e', 'U+1B\\]0;xU+7U+202E'],
  ['\\*', '\\\\\\*'],
  ['- item', '\\- item'],
  ['1. item', '1\\. item'],
  ['east-to_west.2', 'east-to_west.2'],
])('%j is shown as it is', (text, markdown) => {
  expect(asText(text)).toBe(markdown);
});

test('what others wrote adds nothing to the details of a key', () => {
  const evil = '\n\n# healed [x](http://evil) ![](//evil) <b> `';
  const lastError = { type: evil, message: evil, stage: null };
  const details = describeStatus({ ...STATUS, link: evil, lastError, skipReason: evil });
  const plain = describeStatus({ ...STATUS, lastError: { ...lastError, type: 'E', message: 'm' }, skipReason: 'r' });
  expect(details.split('\n')).toHaveLength(plain.split('\n').length);
  expect(details.replace(/`[^`\n]*`/g, '')).not.toMatch(/(?<!\\)[[\]<#]|(?<!\\):\/\//);
});
