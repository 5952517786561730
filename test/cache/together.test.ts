/** Readers of one key that look or wait together, when one of them gives up. */
import { EventEmitter } from 'node:events';
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import type { Leases, Look } from '../../src/cache/leases.js';
import { SharedLooks } from '../../src/cache/shared-looks.js';
import { WaitingReaders } from '../../src/cache/waiting.js';

const KEY = Buffer.from('k');

/** Its commands are answered by hand. */
class Subscriber extends EventEmitter {
  readonly sent: string[] = [];
  readonly answers: (() => void)[] = [];

  subscribe(): Promise<void> {
    this.sent.push('SUBSCRIBE');
    return new Promise((resolve) => this.answers.push(resolve));
  }

  async unsubscribe(): Promise<void> {
    this.sent.push('UNSUBSCRIBE');
  }
}

test('a reader that gives up before it listens takes nothing from those behind it', async () => {
  const subscriber = new Subscriber();
  const readers = new WaitingReaders(subscriber as unknown as Redis);
  const [first, second] = [readers.join(KEY), readers.join(KEY)];
  first.leave();
  const third = readers.join(KEY);
  expect(subscriber.sent).toEqual(['SUBSCRIBE', 'SUBSCRIBE']);
  for (const answer of subscriber.answers) answer();
  await Promise.all([second.listening, third.listening]);
  subscriber.emit('messageBuffer', KEY);
  await Promise.all([second.told, third.told]);
  second.leave();
  third.leave();
  expect(subscriber.sent).toEqual(['SUBSCRIBE', 'SUBSCRIBE', 'UNSUBSCRIBE']);
});

test('a look that is given up late leaves the one that was sent since', async () => {
  const sent: ((look: Look) => void)[] = [];
  const leases = { look: () => new Promise<Look>((resolve) => sent.push(resolve)) } as unknown as Leases;
  const giveUps: (() => void)[] = [];
  const looks = new SharedLooks(leases, (_key, look) => {
    const late = new Promise<Look>((_, reject) => giveUps.push(() => reject(new Error('late'))));
    return Promise.race([look, late]);
  });
  const given = [looks.look(KEY), looks.look(KEY)];
  giveUps[0]!();
  await expect(given[0]).rejects.toThrow('late');
  const anew = looks.look(KEY);
  giveUps[1]!();
  await expect(given[1]).rejects.toThrow('late');
  // Shared with those behind it: no third one is sent beside it.
  const behind = [looks.look(KEY), looks.look(KEY)];
  expect(sent).toHaveLength(2);
  const absent: Look = { kind: 'absent' };
  sent[1]!(absent);
  expect(await anew).toBe(absent);
  await expect.poll(() => sent.length).toBe(3);
  sent[2]!(absent);
  expect(await Promise.all(behind)).toEqual([absent, absent]);
});
