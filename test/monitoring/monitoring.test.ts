/** The rules, alerts and dashboard of monitoring/: right by themselves, and about what is there. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { prometheusText } from '../../src/dual-write/index.js';
import { providePrometheus } from '../../src/stack/programs/index.js';
import { bridgeMetrics } from '../../src/telemetry/bridge-metrics.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { workerMetrics } from '../../src/telemetry/worker-metrics.js';
import { pathOf, read } from '../documents/generated.js';
import { describeWith } from '../support/services.js';

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly annotations?: { readonly runbook: string };
}

const TESTS = 'test/monitoring/alerts.yaml';
const RULES = ['monitoring/rules.yaml', 'monitoring/alerts.yaml'];
const rules = RULES.flatMap((file) =>
  (parse(read(file)) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules),
);
const alerts = rules.filter(({ alert }) => alert !== undefined);

await describeWith('the rules for Prometheus', providePrometheus, ({ promtool }) => {
  const run = (...args: string[]) => promisify(execFile)(promtool, args, { cwd: pathOf('.') });

  it('are well-formed', async () => {
    const { stdout } = await run('check', 'rules', '--lint-fatal', ...RULES);
    expect(stdout).toContain(`SUCCESS: ${alerts.length} rules found`);
    await run('check', 'config', 'monitoring/prometheus.yaml');
  });

  it('fire and are silent as their tests say', async () => {
    await run('test', 'rules', TESTS);
  });
});

it('each alert is seen firing and silent, and has a section that says what to do', () => {
  const tests = (parse(read(TESTS)) as { tests: { alert_rule_test?: AlertTest[] }[] }).tests;
  const cases = tests.flatMap(({ alert_rule_test = [] }) => alert_rule_test);
  const headings = [...read('docs/metrics.md').matchAll(/^### (Keymend\w+)$/gm)].map(([, heading]) => heading);
  expect(headings).toEqual(alerts.map(({ alert }) => alert));
  for (const { alert, annotations } of alerts) {
    expect(annotations!.runbook).toBe(`docs/metrics.md#${alert!.toLowerCase()}`);
    const numbers = cases.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length);
    expect([alert, Math.min(...numbers) === 0, Math.max(...numbers) > 0]).toEqual([alert, true, true]);
  }
});

interface AlertTest {
  readonly alertname: string;
  readonly exp_alerts: readonly object[];
}

it('what rules, alerts, dashboard and the example for KEDA ask for is what the code registers', async () => {
  const metrics = new Metrics();
  metrics.ofProcess('0.0.0');
  bridgeMetrics(metrics, {
    backlog: () => ({ records: 0, ageMs: 0 }),
    isReading: () => true,
    isSurge: () => false,
    openBatches: () => 0,
    standing: async () => ({ temporal: null, outboxes: new Map(), failingKeys: new Map() }),
  });
  const worker = workerMetrics(metrics, ['east-to-west']);
  worker.converged('east-to-west', Date.now());
  const ofWriters = [...prometheusText({}).matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!);
  const known = new Set([...(await metrics.registry.getMetricsAsJSON()).map(({ name }) => name), ...ofWriters]);
  const recorded = new Set(rules.flatMap(({ record }) => record ?? []));
  const dashboard = read('monitoring/dashboard.json');
  const scaled = [...read('charts/keymend/examples/keda.yaml').matchAll(/query: >-\n([\s\S]*?)\n +threshold/g)];
  expect(scaled).toHaveLength(1);
  const asked = [
    ...scaled.map(([, expr]) => expr!),
    ...rules.map(({ expr }) => expr),
    ...[...dashboard.matchAll(/"(?:expr|query)": "((?:[^"\\]|\\.)*)"/g)].map(([, expr]) => expr!),
  ].flatMap((expr) => [...expr.matchAll(/\b(?:keymend|process)[_:][\w:]*/g)].map(([name]) => name));
  expect(asked.length).toBeGreaterThan(60);
  const isThere = (name: string) =>
    name.includes(':') ? recorded.has(name) : known.has(name) || known.has(name.replace(/_(bucket|sum|count)$/, ''));
  expect(asked.filter((name) => !isThere(name))).toEqual([]);
  // A bucket that is not there would make a service level without a word.
  const text = await metrics.registry.metrics();
  const buckets = [...read('monitoring/rules.yaml').matchAll(/le=~"(\d+)/g)].map(([, bucket]) => bucket!);
  expect(buckets).toHaveLength(6);
  for (const bucket of buckets) expect(text).toContain(`keymend_convergence_lag_seconds_bucket{le="${bucket}",`);
});

it('every metric is in the dashboard', async () => {
  const rows = [...read('docs/metrics.md').matchAll(/^\| (`keymend_[^|]*) \|/gm)];
  const names = rows.flatMap(([, cell]) => [...cell!.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
  const dashboard = read('monitoring/dashboard.json');
  expect(names.filter((name) => !dashboard.includes(name) && name !== 'keymend_sweep_compared_keys_total')).toEqual([]);
});
