import { describe, expect, it } from 'vitest';
import { PendingRecords } from '../../src/dual-write/records/pending-records.js';
import type { FailedWrite } from '../../workflows/messages.js';

let count = 0;
function record(over: Partial<FailedWrite> = {}): FailedWrite {
  count += 1;
  const failedAt = new Date(Date.UTC(2026, 0, 1) + count).toISOString();
  const error = { code: 'READONLY', message: `no ${count}` };
  return { specVersion: 1, id: `id-${count}`, link: 'l', key: 'k', outcome: 'refused', failedAt, error, ...over };
}

function joined(...records: FailedWrite[]): FailedWrite {
  const pending = new PendingRecords(10);
  for (const one of records) expect(pending.add(one)).toBe(true);
  const taken = pending.take(10);
  expect(taken).toHaveLength(1);
  return taken[0]!.record;
}

describe('a single failed write that waits', () => {
  it('stays as it is', () => {
    const one = record({ command: 'SADD', members: ['a'], encoding: 'utf8', origin: 'app' });
    expect(joined(one)).toEqual(one);
  });
});

describe('several failed writes of one key', () => {
  it('become one record with an id of its own, the newest time and the newest error', () => {
    const [first, second] = [record({ command: 'SET' }), record({ command: 'SET' })];
    const { id, failedAt, error, command } = joined(second, first);
    expect([first.id, second.id]).not.toContain(id);
    expect(failedAt).toBe(second.failedAt);
    expect(error).toEqual(first.error);
    expect(command).toBe('SET');
  });

  it('have an unknown outcome when one of them has, and its error', () => {
    const unknown = record({ outcome: 'unknown', error: { code: 'TIMEOUT' } });
    const { outcome: _, ...unsaid } = record();
    expect(joined(record(), unknown, record())).toMatchObject({ outcome: 'unknown', error: { code: 'TIMEOUT' } });
    expect(joined(record(), unsaid).outcome).toBe('unknown');
    expect(joined(record(), record()).outcome).toBe('refused');
  });

  it('name the members of all, once each', () => {
    const { command, members } = joined(
      record({ command: 'SADD', members: ['a', 'b'] }),
      record({ command: 'SREM', members: ['b', 'c'] }),
    );
    expect(members).toEqual(['a', 'b', 'c']);
    expect(['SADD', 'SREM']).toContain(command);
  });

  it('keep the command that must not be done twice', () => {
    const harmless = record({ command: 'HSET', members: ['a'] });
    const harmful = record({ command: 'HINCRBY', members: ['b'] });
    expect(joined(harmless, harmful).command).toBe('HINCRBY');
    expect(joined(harmful, harmless).command).toBe('HINCRBY');
  });

  it('mean the whole key when one of them does, or when they touch different things', () => {
    const members = record({ command: 'SADD', members: ['a'] });
    for (const other of [record(), record({ command: 'DEL' }), record({ command: 'EXPIRE' })]) {
      const whole = joined(members, other, record({ command: 'SADD', members: ['b'] }));
      expect([whole.command, whole.members]).toEqual([undefined, undefined]);
    }
    expect(joined(record({ command: 'SET' }), record({ command: 'DEL' })).command).toBeUndefined();
    expect(joined(record({ command: 'EXPIREAT' }), record({ command: 'PERSIST' })).command).toMatch(/EXPIREAT|PERSIST/);
  });

  it('are of one key however its bytes are written', () => {
    const binary = Buffer.from([0xff]);
    const whole = joined(
      record({ command: 'SADD', members: ['a'], encoding: 'utf8' }),
      record({
        key: Buffer.from('k').toString('base64'),
        command: 'SADD',
        members: [binary.toString('base64')],
        encoding: 'base64',
      }),
    );
    expect(whole).toMatchObject({
      key: Buffer.from('k').toString('base64'),
      encoding: 'base64',
      members: [Buffer.from('a').toString('base64'), binary.toString('base64')],
    });
  });

  it('are of one key, and of one member, also beyond ASCII', () => {
    const inBase64 = (text: string) => Buffer.from(text).toString('base64');
    const pending = new PendingRecords(10);
    pending.add(record({ key: 'é', command: 'SADD', members: ['é'], encoding: 'utf8' }));
    pending.add(record({ key: inBase64('é'), command: 'SADD', members: [inBase64('é')], encoding: 'base64' }));
    expect(pending.has(Buffer.from('é'))).toBe(true);
    expect(pending.has(Buffer.from('é', 'latin1'))).toBe(false);
    expect(pending.take(10)).toMatchObject([{ record: { key: 'é', members: ['é'], encoding: 'utf8' } }]);
  });

  it('mean the whole key past the members that a record can hold', () => {
    const one = (index: number) => record({ command: 'SADD', members: [`m${index}`] });
    expect(joined(...Array.from({ length: 1000 }, (_, index) => one(index))).members).toHaveLength(1000);
    const whole = joined(...Array.from({ length: 1100 }, (_, index) => one(index)));
    expect([whole.command, whole.members]).toEqual([undefined, undefined]);
    const large = (char: string) => record({ command: 'SADD', members: [char.repeat(20 * 1024)] });
    expect(joined(large('a'), large('b')).members).toBeUndefined();
  });

  it('name their members again once those that took the room are gone', () => {
    const pending = new PendingRecords(1_000);
    const fill = () => {
      for (let key = 0; key < 900; key++) {
        pending.add(record({ key: `${key}`, command: 'SADD', members: ['m'.repeat(20 * 1024)] }));
      }
    };
    const named = () => pending.take(1_000).filter(({ record: { members } }) => members !== undefined).length;
    fill();
    const first = named();
    expect(first).toBeGreaterThan(700);
    expect(first).toBeLessThan(900);
    fill();
    expect(named()).toBe(first);
  });

  it('take no more room than one', () => {
    const pending = new PendingRecords(2);
    for (const key of ['a', 'b', 'a', 'b']) expect(pending.add(record({ key }))).toBe(true);
    expect(pending.add(record({ key: 'c' }))).toBe(false);
    expect(pending.size).toBe(2);
    expect(pending.take(1).map(({ record: { key } }) => key)).toEqual(['a']);
    expect(pending.add(record({ key: 'c' }))).toBe(true);
  });
});
