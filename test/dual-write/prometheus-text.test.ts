/** What an application shows to Prometheus of its DualWriters. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { prometheusText } from '../../src/dual-write/index.js';
import { providePrometheus } from '../../src/stack/programs/index.js';
import { read } from '../documents/generated.js';
import { eventually } from '../support/eventually.js';
import { describeWith } from '../support/services.js';
import { type Bed, startBed } from './bed.js';

let bed: Bed;
beforeAll(async () => {
  bed = await startBed();
});
afterAll(() => bed.stop());

it('counts what was mirrored, recorded and lost, and says that the target is away', async () => {
  const writer = await bed.writer();
  await writer.set('a', '1');
  await eventually(() =>
    expect(prometheusText({ 'east-to-west': writer })).toContain('mirrored_total{link="east-to-west"} 1'),
  );
  bed.link.cut();
  await writer.set('b', '1');
  await eventually(async () => {
    await writer.set('c', '1');
    expect(prometheusText({ 'east-to-west': writer })).toContain('servers_away{link="east-to-west"} 1\n');
  });
  await eventually(() => expect(writer.stats().recording).toBe(0));
  const { recorded } = writer.stats();
  expect(recorded).toBeGreaterThan(0);
  const text = prometheusText({ 'east-to-west': writer });
  expect(text).toContain(`\nkeymend_writer_recorded_total{link="east-to-west"} ${recorded}\n`);
  expect(text).toContain('\nkeymend_writer_lost_total{link="east-to-west"} 0\n');
});

it('has one head for several writers, a name of its own for each, and the metrics of the page', () => {
  const stats = () => ({ ...EMPTY, lost: 3 });
  const text = prometheusText({ one: { stats }, 'a "b"\\\n': { stats } });
  expect(text.match(/# TYPE keymend_writer_lost_total counter\n/g)).toHaveLength(1);
  expect(text).toContain(
    'keymend_writer_lost_total{link="one"} 3\nkeymend_writer_lost_total{link="a \\"b\\"\\\\\\n"} 3\n',
  );
  const names = [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name);
  const [, table] = /### Of applications(.*?)^## /ms.exec(read('docs/metrics.md'))!;
  expect([...table!.matchAll(/`(keymend_writer_\w+)`/g)].map(([, name]) => name)).toEqual(names);
});

const EMPTY = { mirrored: 0, recorded: 0, recording: 0, lost: 0, inFlight: 0, unanswered: 0, uncovered: 0, shards: [] };

await describeWith('the text for Prometheus', providePrometheus, ({ promtool }) => {
  it('is as Prometheus wants it', () => {
    const input = prometheusText({ one: { stats: () => EMPTY }, 'a "b"': { stats: () => EMPTY } });
    expect(execFileSync(promtool, ['check', 'metrics'], { input, encoding: 'utf8' })).toBe('');
  });
});
