/** The checker is checked: it finds each kind of violation, and none in a good history. */
import { expect, test } from 'vitest';
import { type History, type RegisterEvent, violations } from './history.js';

/**
 * A history of one register `k` as text, one event per word, which is also the time: `s1` the
 * source gets version 1, `s2-` version 2 is a delete there, `t1` the client's version 1 lands on
 * the target, `r1` a repair brings version 1, `r-` a repair deletes.
 */
function history(text: string): History {
  const events = text.split(' ').map((word, at): RegisterEvent & { side: string } => {
    const [, side, digits] = /^([str])(\d*)-?$/.exec(word)!;
    const version = digits === '' ? null : Number(digits);
    return {
      side: side!,
      register: 'k',
      version,
      present: !word.endsWith('-'),
      by: side === 'r' ? 'repair' : 'client',
      at,
    };
  });
  const on = (...sides: string[]) => events.filter(({ side }) => sides.includes(side));
  return { source: on('s'), target: on('t', 'r') };
}

test.each([
  ['every write lands', 's1 t1 s2 t2'],
  ['a lost write is repaired', 's1 t1 s2 r2'],
  ['a repair brings a version that the client brings as well, later', 's1 s2 r2 t1 t2'],
  ['a repair and then newer writes', 's1 r1 s2 s3 t3'],
  ['a repair of the version that is there', 's1 t1 r1'],
  ['a delete is repaired', 's1 t1 s2- r-'],
  ['a delete is repaired, and the writer goes on', 's1 t1 s2- r- s3 t3'],
  ['a delete on both sides, and the writer goes on', 's1 t1 s2- t2- s3 r3'],
  ['an absence that came back gets an older version, and then what is right', 's1 s2 t2 s3- t3- r2 r-'],
  ['the same, and the writer mends it', 's1 s2- t2- r1 s3 t3'],
  ['a repair deletes what was never written', 'r- s1 t1'],
])('a good history: %s', (_name, text) => expect(violations(history(text))).toEqual([]));

test.each([
  [
    'an older version over a newer one',
    's1 s2 t2 r1 t2',
    'k: a repair brought version 1 (of version 1) after a client had written version 2',
  ],
  [
    'a deleted key brought back for good',
    's1 t1 s2- t2- r1',
    'k: a repair brought version 1 (of version 1) after a client had written version 2',
  ],
  [
    'a newer write deleted',
    's1- s2 t2 r- r2',
    'k: a repair brought a delete (of version 1) after a client had written version 2',
  ],
  ['a delete that never was', 's1 t1 r- r1', 'k: a repair brought a delete which the source had not had by then'],
  [
    'a delete that comes only later does not excuse it',
    's1 t1 r- s2- t2-',
    'k: a repair brought a delete which the source had not had by then',
  ],
  [
    'a version that the source did not have yet',
    's1 r2 s2 t2',
    'k: a repair brought version 2 which the source had not had by then',
  ],
  ['both sides differ in the end', 's1 t1 s2', 'k: in the end the source is version 2 and the target version 1'],
  ['the target lacks it in the end', 's1', 'k: in the end the source is version 1 and the target absent'],
  ['a write that the record of the source misses', 's1 t1 s3 t3', 'k: the source has version 3 as its write number 2'],
])('a bad history: %s', (_name, text, violation) => expect(violations(history(text))).toContain(violation));

test('registers are judged apart, and each violation names its own', () => {
  const one = history('s1 s2 t2 r1 t2');
  const other: History = JSON.parse(JSON.stringify(history('s1 t1')).replaceAll('"k"', '"other"'));
  expect(violations({ source: [...one.source, ...other.source], target: [...other.target, ...one.target] })).toEqual([
    expect.stringMatching(/^k: /),
  ]);
});
