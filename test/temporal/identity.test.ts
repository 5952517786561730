/** Which release of keymend a worker is of, as Temporal names it. */
import { expect, test } from 'vitest';
import { versionIn, workerIdentity } from '../../src/temporal/identity.js';

test('a worker tells its release behind the name of its process', () => {
  expect(versionIn(workerIdentity('1.2.3-rc.1'))).toBe('1.2.3-rc.1');
  expect(workerIdentity('1.2.3')).toMatch(new RegExp(`^${process.pid}@`));
});

test('one of an earlier release, or of another language, tells none', () => {
  expect(['1@host', 'keymend/1.2.3', ''].map(versionIn)).toEqual([null, null, null]);
});
