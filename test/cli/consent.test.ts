/** What a person is asked before many keys are told something. */
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { consent, questionOf } from '../../src/cli/bulk/consent.js';

it('how many keys it is about, where that is known soon', async () => {
  const asked = (keys: number | null) =>
    questionOf({ what: 'every escalated key of link a', count: async () => keys }, 'give up on what is pending');
  expect(await asked(80_000)).toBe(
    'tell every escalated key of link a, about 80000 now, to give up on what is pending',
  );
  expect(await asked(null)).toBe('tell every escalated key of link a to give up on what is pending');
});

it.each([
  ['yes', '\r', undefined],
  ['no', '\r', { exitCode: 1, message: 'nothing was told to anybody' }],
  ['', '\r', { exitCode: 1 }],
  ['y', '\u0003', { exitCode: 130, message: 'nothing was told to anybody' }],
  ['', '\u0004', { exitCode: 130 }],
])('"%s" and then %j', async (said, key, refused) => {
  const [stdin, stderr] = [new PassThrough(), new PassThrough()].map((stream) =>
    Object.assign(stream, { isTTY: true }),
  );
  const answer = consent('tell all', { stdin: stdin!, stderr: stderr! });
  stdin!.write(said + key);
  const ended = await answer.catch((error: unknown) => error);
  if (refused === undefined) expect(ended).toBe(undefined);
  else expect(ended).toMatchObject(refused);
  expect(String(stderr!.read())).toContain('tell all? [y/N] ');
});
