import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { bridgeMetrics } from '../../src/telemetry/bridge-metrics.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { workerMetrics } from '../../src/telemetry/worker-metrics.js';

const NOW = { backlog: () => ({ records: 7, ageMs: 1_500 }), isSurge: () => true, openBatches: () => 3 };

it('the table of docs/operations.md has every metric, with its labels', async () => {
  const metrics = new Metrics();
  metrics.ofProcess('0.0.0');
  bridgeMetrics(metrics, NOW);
  workerMetrics(metrics, []);
  const known = (await metrics.registry.getMetricsAsJSON()).filter(({ name }) => name.startsWith('keymend_'));
  const labels = (name: string) => {
    const metric = metrics.registry.getSingleMetric(name) as unknown as { labelNames: readonly string[] };
    return [name, metric.labelNames.join(', ')];
  };
  const docs = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const rows = [...docs.matchAll(/^\| (`keymend_[^|]*) \| ([^|]*)\|/gm)].flatMap(([, names, columns]) =>
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
  for (const line of ['backlog_records 7', 'backlog_age_seconds 1.5', 'surge 1', 'batches_open 3'])
    expect(text).toContain(`\nkeymend_${line}\n`);
});
