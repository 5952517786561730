import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { bridgeMetrics, type Standing } from '../../src/telemetry/bridge-metrics.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { workerMetrics } from '../../src/telemetry/worker-metrics.js';

const STANDING: Standing = {
  temporal: { byType: { reconcileKey: 12, gap: 1 }, escalated: 5, oldestRepairMs: 90_500 },
  outboxes: new Map([['east-to-west', 8]]),
  failingKeys: new Map([['east-to-west', 40]]),
};
const UNKNOWN: Standing = { temporal: null, outboxes: new Map(), failingKeys: new Map() };

const NOW = {
  backlog: () => ({ records: 7, ageMs: 1_500 }),
  isReading: () => true,
  isSurge: () => true,
  openBatches: () => 3,
  standing: async () => STANDING,
};

it('the table of docs/metrics.md has every metric of bridge and worker, with its labels', async () => {
  const metrics = new Metrics();
  metrics.ofProcess('0.0.0');
  bridgeMetrics(metrics, NOW);
  workerMetrics(metrics, []);
  const known = (await metrics.registry.getMetricsAsJSON()).filter(({ name }) => name.startsWith('keymend_'));
  const labels = (name: string) => {
    const metric = metrics.registry.getSingleMetric(name) as unknown as { labelNames: readonly string[] };
    return [name, metric.labelNames.join(', ')];
  };
  const docs = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = [...docs.matchAll(/^\| (`keymend_(?!writer_)[^|]*) \| ([^|]*)\|/gm)].flatMap(([, names, columns]) =>
    [...names!.matchAll(/`(\w+)`/g)].map(([, name]) => [name!, columns!.trim()]),
  );
  expect(new Map(rows as [string, string][])).toEqual(
    new Map(known.map(({ name }) => labels(name) as [string, string])),
  );
  for (const { name, type } of known) expect([name, /_total$/.test(name)]).toEqual([name, String(type) === 'counter']);
});

it('what changes by itself is asked for when somebody looks', async () => {
  const metrics = new Metrics();
  bridgeMetrics(metrics, NOW);
  const text = await metrics.registry.metrics();
  for (const line of [
    'intake_reads 1',
    'backlog_records 7',
    'backlog_age_seconds 1.5',
    'surge 1',
    'batches_open 3',
    'workflows_open{type="reconcileKey"} 12',
    'workflows_open{type="gap"} 1',
    'keys_escalated 5',
    'oldest_repair_seconds 90.5',
    'temporal_answers 1',
    'outbox_records{link="east-to-west"} 8',
    'failing_keys{link="east-to-west"} 40',
  ])
    expect(text).toContain(`\nkeymend_${line}\n`);
});

it('what is not known any more is not told, and no number stays of what was', async () => {
  const metrics = new Metrics();
  let now = STANDING;
  bridgeMetrics(metrics, { ...NOW, standing: async () => now });
  await metrics.registry.metrics();
  now = UNKNOWN;
  const text = await metrics.registry.metrics();
  for (const line of ['keys_escalated Nan', 'oldest_repair_seconds Nan', 'temporal_answers 0'])
    expect(text).toContain(`\nkeymend_${line}\n`);
  expect(text).not.toMatch(/^keymend_(workflows_open|outbox_records|failing_keys)\{/m);
});

it('of a bridge that can not read nobody hears that nothing waits, nor a number that spoils a sum', async () => {
  const metrics = new Metrics();
  let [records, isReading] = [0, false];
  bridgeMetrics(metrics, { ...NOW, backlog: () => ({ records, ageMs: records }), isReading: () => isReading });
  const told = async () => (await metrics.registry.metrics()).match(/^keymend_(backlog|intake)\S+ \S+$/gm);
  expect(await told()).toEqual(['keymend_intake_reads 0']);
  // What it has in hand it still knows of.
  records = 1_000;
  expect(await told()).toEqual([
    'keymend_intake_reads 0',
    'keymend_backlog_records 1000',
    'keymend_backlog_age_seconds 1',
  ]);
  [records, isReading] = [0, true];
  expect(await told()).toEqual([
    'keymend_intake_reads 1',
    'keymend_backlog_records 0',
    'keymend_backlog_age_seconds 0',
  ]);
});

it('what others tell is behind our own, and what they do not tell hinders nothing', async () => {
  const metrics = new Metrics();
  metrics.alsoTell(async () => 'temporal_request_total 7\n');
  expect(await metrics.text()).toBe(`${await metrics.registry.metrics()}temporal_request_total 7\n`);
  metrics.alsoTell(async () => {
    throw new Error('away\nkeymend_surge 1');
  });
  expect(await metrics.text()).toBe(`${await metrics.registry.metrics()}# not told: "Error: away\\nkeymend_surge 1"\n`);
});

it('the budget is told of by server, and however many there are, they are a hundred and one', async () => {
  const metrics = new Metrics();
  const told = workerMetrics(metrics, ['east-to-west', 'north-to-west']);
  for (let index = 0; index < 150; index += 1) {
    told.budgetUsed('east-to-west', `10.0.0.${index}:6379`, 2);
    told.budgetWaited('east-to-west', `10.0.0.${index}:6379`, 20_000);
  }
  told.budgetUsed('east-to-west', '10.0.0.0:6379', 1);
  told.budgetUsed('north-to-west', '10.0.0.149:6379', 1);
  const text = await metrics.registry.metrics();
  for (const line of [
    'operations_total{link="east-to-west",shard="10.0.0.0:6379"} 3',
    'operations_total{link="east-to-west",shard="other"} 100',
    'operations_total{link="north-to-west",shard="10.0.0.149:6379"} 1',
    'wait_seconds_bucket{le="10",link="east-to-west",shard="10.0.0.7:6379"} 0',
    'wait_seconds_bucket{le="30",link="east-to-west",shard="10.0.0.7:6379"} 1',
    'wait_seconds_count{link="east-to-west",shard="other"} 50',
  ])
    expect(text).toContain(`\nkeymend_budget_${line}\n`);
  expect(text.match(/^keymend_budget_operations_total\{/gm)).toHaveLength(102);
});

it('a sample that has compared nothing leaves no ratio of an earlier one', async () => {
  const metrics = new Metrics();
  const told = workerMetrics(metrics, ['east-to-west', 'north-to-west']);
  const ended = { ofAll: false, outcome: 'equal', compared: 100, repaired: 0, differing: 0 } as const;
  const ratios = async () => (await metrics.registry.metrics()).match(/^keymend_sweep_consistent_ratio\{.*/gm);
  told.swept('east-to-west', { ...ended, consistent: [{ withinSeconds: 60, part: 0.9 }] });
  told.swept('north-to-west', { ...ended, consistent: [{ withinSeconds: 60, part: 1 }] });
  told.swept('east-to-west', ended);
  expect(await ratios()).toHaveLength(2);
  told.swept('east-to-west', { ...ended, compared: 0, consistent: [] });
  expect(await ratios()).toEqual(['keymend_sweep_consistent_ratio{link="north-to-west",within_seconds="60"} 1']);
});

it('links and errors that are not known share one label, however many come', async () => {
  const metrics = new Metrics();
  const told = workerMetrics(metrics, ['east-to-west']);
  for (let index = 0; index < 50; index += 1) {
    told.attempted(`link-${index}`, 'failed', `Error${index}`);
    told.escalated('east-to-west', `Error${index}`);
    told.converged(`link-${index}`, Date.now());
  }
  told.attempted('east-to-west', 'failed', 'TargetReadOnly');
  const text = await metrics.registry.metrics();
  for (const line of [
    'reconciles_total{link="other",result="failed",error="other"} 50',
    'reconciles_total{link="east-to-west",result="failed",error="TargetReadOnly"} 1',
    'escalations_total{link="east-to-west",error="other"} 50',
    'convergence_lag_seconds_count{link="other"} 50',
  ])
    expect(text).toContain(`\nkeymend_${line}\n`);
});
