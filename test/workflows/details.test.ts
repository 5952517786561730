import { expect, test } from 'vitest';
import { commandFor } from '../../workflows/command-line.js';
import { asText, describeStatus } from '../../workflows/details.js';
import type { KeyStatus } from '../../workflows/messages.js';
import { describeSides } from '../../workflows/sides.js';

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

const AT = '2026-11-20T23:00:00.000Z';
const side = { type: 'hash', size: 12, expiresAt: null };

test('the details of an escalated key begin with the next step, and fit into ten lines', () => {
  const details = describeStatus({
    ...STATUS,
    lastError: { type: 'TargetReadOnly', message: "You can't write against a read only replica.", stage: 'write' },
    nextRetry: '2026-11-20T23:15:00.000Z',
    sides: { at: AT, source: side, target: { ...side, size: 10, expiresAt: '2026-11-21T00:00:00.000Z' } },
    tried: [{ type: 'TargetReadOnly', attempts: 8, from: AT, to: '2026-11-20T23:01:03.000Z' }],
  });
  expect(details.split('\n').filter((line) => line !== '')).toEqual([
    '**TargetReadOnly. Next step:** The target refuses writes: it is a replica, or has too few of its own. Point the link at the master, or wait for the failover to end.',
    'Then send the signal `retry`, or in a terminal: `npx keymend retry --link east-to-west k`',
    'To give up on this key send `skip` with `{"reason": "…"}`, or: `npx keymend skip --reason WHY --link east-to-west k`',
    `- **size and expiry differ: source hash, 12 fields, no expiry; target hash, 10 fields, expires 2026-11-21T00\\:00\\:00.000Z** (seen ${AT})`,
    "- last error: **TargetReadOnly** while in stage write: You can't write against a read only replica.",
    '- next try by itself: 2026-11-20T23:15:00.000Z',
    `- tried: 8 attempts; TargetReadOnly 8 times, ${AT} to 2026-11-20T23:01:03.000Z`,
    '- failed writes pending: 1',
    '- state: **escalated** · link `east-to-west`',
  ]);
});

test('what no other try can mend is skipped first, and tried again only by who knows better', () => {
  const lastError = { type: 'Unsupported', message: 'm', stage: 'write' } as const;
  const lines = describeStatus({ ...STATUS, lastError })
    .split('\n')
    .filter((line) => line !== '');
  expect(lines.slice(1, 3)).toEqual([
    'Then send `skip` with `{"reason": "…"}`, or: `npx keymend skip --reason WHY --link east-to-west k`',
    'To try again send the signal `retry`, or in a terminal: `npx keymend retry --link east-to-west k`',
  ]);
});

test('a delete that the guard refused has one more command, for who means it', () => {
  const details = describeStatus({
    ...STATUS,
    lastError: { type: 'SourceSuspicious', message: 'm', stage: 'compare' },
  });
  expect(details).toContain('in a terminal: `npx keymend retry --link east-to-west k`');
  expect(details).toContain('If the delete is meant: `npx keymend reconcile --allow-delete --link east-to-west k`');
});

test.each([
  ['user:42', 'utf8', 'user:42'],
  ["it's $(rm -rf) \\ ;", 'utf8', "'it'\\''s $(rm -rf) \\ ;'"],
  ['-rf', 'utf8', '-- -rf'],
  ['a`b', 'utf8', '--encoding base64 -- YWBi'],
  ['a\nbc', 'utf8', '--encoding base64 -- YQpiYw=='],
  ['\u202eé\n', 'utf8', '--encoding base64 -- 4oCuw6kK'],
  ['schlüssel ✓', 'utf8', "'schlüssel ✓'"],
  ['/wA=', 'base64', '--encoding base64 -- /wA='],
  ['x'.repeat(300), 'utf8', 'KEY'],
  ['', 'utf8', "''"],
] as const)('in a command the key %j (%s) is %s', (key, encoding, argument) => {
  expect(commandFor('retry', 'l', { key, encoding })).toBe(`npx keymend retry --link l ${argument}`);
});

test.each([
  [null, side, 'one side did not answer: source not known; target hash, 12 fields, no expiry'],
  [
    side,
    { type: 'none', size: null, expiresAt: null },
    'the target lacks it: source hash, 12 fields, no expiry; target nothing',
  ],
  [
    { type: 'none', size: null, expiresAt: null },
    side,
    'the target alone has it: source nothing; target hash, 12 fields, no expiry',
  ],
  [
    side,
    { ...side, type: 'string', size: 1 },
    'the types differ: source hash, 12 fields, no expiry; target string, 1 byte, no expiry',
  ],
  [
    side,
    { ...side, size: null },
    'size differs: source hash, 12 fields, no expiry; target hash, many fields, no expiry',
  ],
  [
    side,
    side,
    'same type, size and expiry, so the content differs if anything does: source hash, 12 fields, no expiry; target hash, 12 fields, no expiry',
  ],
  [
    { ...side, expiresAt: '2026-11-21T00:00:00.000Z' },
    { ...side, expiresAt: '2026-11-21T00:00:00.900Z' },
    'same type, size and expiry, so the content differs if anything does: source hash, 12 fields, expires 2026-11-21T00:00:00.000Z; target hash, 12 fields, expires 2026-11-21T00:00:00.900Z',
  ],
])('what both sides have reads as a sentence', (source, target, line) => {
  expect(describeSides({ at: AT, source, target })).toBe(line);
});
