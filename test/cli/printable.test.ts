import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLogTo } from '../../src/cli/log.js';
import { jsonLine, printable } from '../../src/cli/printable.js';

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

test.each([
  ['\u001b]0;owned\u0007', '\\u001b]0;owned\\u0007'],
  ['a\r\nno key is escalated', 'a\\r\\nno key is escalated'],
  ['\u009b2J', '\\u009b2J'],
  ['a\u202egnp.exe\u2066', 'a\\u202egnp.exe\\u2066'],
  ['\u200b\u2028\ufeff\u{e0041}', '\\u200b\\u2028\\ufeff\\udb40\\udc41'],
  ['\ud800', '\\ud800'],
  ['grün 鍵 😀 a b', 'grün 鍵 😀 a b'],
])('%j is shown, not obeyed', (text, shown) => {
  expect(printable(text)).toBe(shown);
});

test('JSON keeps its value and has nothing that a terminal obeys', () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary' })), (value) => {
      const line = jsonLine(value);
      expect(JSON.parse(line)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(line).not.toMatch(UNSEEN);
    }),
  );
});

function logged(isTTY: boolean, log: (logger: ReturnType<typeof createLogTo>) => void): string {
  let text = '';
  log(createLogTo({ isTTY, write: (part) => (text += part) }, 'info'));
  return text;
}

test('a log is JSON lines in a pipe and lines for a person on a terminal', () => {
  const log = (logger: ReturnType<typeof createLogTo>) => {
    logger.warn({ key: 'a\u001b[2J\nb', attempts: 2 }, 'escalated: \u202eno');
    logger.info('hello');
    logger.debug('nobody wants this');
  };
  const lines = logged(false, log).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { level: 'warn', key: 'a\u001b[2J\nb', msg: 'escalated: \u202eno' },
    { level: 'info', msg: 'hello' },
  ]);
  expect(logged(true, log)).toMatch(
    /^\d\d:\d\d:\d\d warn {2}escalated: \\u202eno \(key a\\u001b\[2J\\nb, attempts 2\)\n\d\d:\d\d:\d\d info {2}hello\n$/,
  );
});

test('a stack is in lines of its own on a terminal', () => {
  const stack = 'Error: a\u001b\n    at one (file:1)\n    at two\u001b (file:2)';
  const text = logged(true, (logger) => logger.error({ stack }, 'unexpected'));
  expect(text).toMatch(/^\S+ error unexpected\n {4}at one \(file:1\)\n {4}at two\\u001b \(file:2\)\n$/);
});
