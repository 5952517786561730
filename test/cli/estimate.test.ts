import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { estimate, KEY_OPERATIONS, KEYS_OF_A_BATCH, TEMPORAL_COST, type Workload } from '../../src/cost-model.js';
import { type Finished, runKeymend } from '../support/keymend.js';

const WORKLOAD: Workload = {
  keys: 1_000_000,
  keysInAll: 1_000_000,
  valueBytes: 100,
  target: 'differs',
  outcome: 'refused',
  budget: { opsPerSecond: 5_000, bytesPerSecond: 50_000_000 },
  transitionsPerSecond: 1_000,
};
const laneOf = (name: string, change: Partial<Workload> = {}) =>
  estimate({ ...WORKLOAD, ...change }).find(({ lane }) => lane === name)!;

describe('the time of a lane is that of what is slowest', () => {
  it('Temporal, where each key has a workflow; the budget, where a thousand share one', () => {
    expect(laneOf('key')).toMatchObject({ minutes: 50, boundBy: 'temporal' });
    expect(laneOf('batch')).toMatchObject({ boundBy: 'opsPerSecond' });
    expect(laneOf('batch').minutes).toBeCloseTo(8_000_000 / 5_000 / 60);
  });

  it('the bytes, where values are large', () => {
    expect(laneOf('batch', { valueBytes: 100_000 })).toMatchObject({ boundBy: 'bytesPerSecond' });
  });

  it('going through all keys, where few of them failed', () => {
    const few = { keys: 100, keysInAll: 100_000_000 };
    expect(laneOf('sweep', few)).toMatchObject({ workflows: 2, boundBy: 'comparing' });
    expect(laneOf('sweep', few).minutes).toBeGreaterThan(laneOf('batch', few).minutes);
  });
});

describe('a sweep', () => {
  it('hands over writes of which nothing is in flight, whatever those were that failed', () => {
    expect(laneOf('sweep', { outcome: 'unknown' })).toEqual(laneOf('sweep', { outcome: 'refused' }));
  });

  it('beats less often once it lists many keys', () => {
    const { perMinute, large } = TEMPORAL_COST.sweep;
    const beats = (keys: number) => {
      const whole = { keys, keysInAll: 100_000_000 };
      const { actions, minutes } = laneOf('sweep', whole);
      return (actions - laneOf('batch', whole).actions) / minutes;
    };
    expect(beats(100)).toBeCloseTo(perMinute.actions, 0);
    expect(beats(100_000)).toBeCloseTo(large.actions, 0);
  });

  it('pays from the budget for comparing values, and for nothing that the target lacks', () => {
    const ofBudget = (target: Workload['target']) => {
      const minutes = laneOf('sweep', { target }).minutes - laneOf('sweep', { target, keys: 1 }).minutes;
      return (minutes * 60 * 5_000) / 1_000_000;
    };
    expect(ofBudget('missing')).toBeCloseTo(KEY_OPERATIONS.missing);
    expect(ofBudget('differs')).toBeCloseTo(KEY_OPERATIONS.differs + 6);
  });
});

it('docs/scale.md has the numbers that the command reckons with', () => {
  const rows = readFileSync(new URL('../../docs/scale.md', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  const cells = (title: RegExp) => rows.find(([first]) => title.test(first!))!.slice(1);
  const { key, batch, sweep } = TEMPORAL_COST;
  expect(cells(/^a key, healed at once/)).toMatchObject([
    `${key.refused.transitions}`,
    {},
    `${key.refused.actions}`,
    {},
  ]);
  expect(cells(/^a key of unknown/)).toMatchObject([`${key.unknown.transitions}`, {}, `${key.unknown.actions}`, {}]);
  expect(cells(/^a batch .* healed at once/)).toMatchObject([
    `${batch.refused.transitions}`,
    {},
    `${batch.refused.actions}`,
    {},
  ]);
  expect(cells(/^a batch .* looked at again/)).toMatchObject([
    `${batch.unknown.transitions}`,
    {},
    `${batch.unknown.actions}`,
    {},
  ]);
  expect(cells(/^is missing/)[0]).toBe(`${KEY_OPERATIONS.missing}`);
  expect(cells(/^differs/)[0]).toBe(`${KEY_OPERATIONS.differs}`);
  const text = readFileSync(new URL('../../docs/scale.md', import.meta.url), 'utf8');
  expect(text).toContain(`${KEYS_OF_A_BATCH} keys on average`);
  expect(text).toContain(`${sweep.actions} actions, and about ${sweep.perMinute.actions} a minute`);
  expect(text).toContain(`more than ${sweep.large.listed} keys it is about ${sweep.large.actions}`);
});

describe('keymend estimate', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'keymend-estimate-'));
    const link = (name: string) =>
      `  - { name: ${name}, source: { url: "redis://a:1" }, target: { url: "redis://b:1" }, workflowIdPrefix: "${name}/" }\n`;
    writeFileSync(join(directory, 'one.yaml'), `kafka: { brokers: ["h:1"] }\nlinks:\n${link('east-to-west')}`);
    writeFileSync(join(directory, 'two.yaml'), `kafka: { brokers: ["h:1"] }\nlinks:\n${link('a')}${link('b')}`);
  });
  afterAll(() => rmSync(directory, { recursive: true }));
  const run = (...args: string[]): Promise<Finished> =>
    runKeymend(['estimate', ...args, '--config', join(directory, 'one.yaml')]);

  it('says it of each lane, with money where there is a price, and asks no service', async () => {
    const { code, stdout, stderr } = await run('1M', '--price-per-million', '50', '--outcome', 'refused');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^1,000,000 failed keys of link east-to-west/);
    expect(stdout).toMatch(/^key by key +1,000,000 +2,000,000 +3,000,000 +3\.81 GB +50 +Temporal +100\.00$/m);
    expect(stdout).toMatch(/^in batches +1,177 +2,354 .* budget\.opsPerSecond +0\.12$/m);
    expect((await run('1M')).stdout).not.toContain('money');
  });

  it('as JSON has the numbers and what they were made of', async () => {
    const { stdout } = await run('250k', '--output', 'json');
    const { keys, outcome, budget, pricePerMillion, lanes } = JSON.parse(stdout);
    expect({ keys, outcome, pricePerMillion }).toEqual({ keys: 250_000, outcome: 'unknown', pricePerMillion: null });
    expect(budget).toEqual({ opsPerSecond: 5_000, bytesPerSecond: 50 * 1024 * 1024 });
    expect(lanes.map(({ lane, money }: { lane: string; money: null }) => [lane, money])).toEqual([
      ['key', null],
      ['batch', null],
      ['sweep', null],
    ]);
  });

  it.each([
    ['16.1k', 16_100],
    ['2.3M', 2_300_000],
    ['1_000', 1_000],
  ])('takes %s for what it is', async (text, keys) => {
    expect(JSON.parse((await run(text, '--output', 'json')).stdout)).toMatchObject({ keys });
  });

  it.each<[string, string[], RegExp]>([
    ['no number', ['many'], /KEYS many: give a whole number above 0/],
    ['nothing', ['0'], /KEYS 0/],
    ['half a key', ['0.5'], /KEYS 0\.5/],
    ['a price that is none', ['5', '--price-per-million', 'cheap'], /--price-per-million cheap: give a number/],
    ['fewer keys than failed', ['5', '--keys-in-all', '4'], /at least the 5 that failed/],
    ['a link that is not there', ['5', '--link', 'x'], /no link "x"/],
  ])('refuses %s', async (_title, args, line) => {
    const { code, stdout, stderr } = await run(...args);
    expect(stderr).toMatch(line);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('wants to know the link where there are several', async () => {
    const { code, stderr } = await runKeymend(['estimate', '5', '--config', join(directory, 'two.yaml')]);
    expect(stderr).toMatch(/several links \(a, b\)/);
    expect(code).toBe(2);
  });
});
