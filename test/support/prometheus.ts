/** A real Prometheus for tests: one process on a free port, gone when the test is. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { eventually } from './eventually.js';
import { freePort } from './redis.js';

interface Prometheus {
  /** From now on it scrapes these, and nothing else. */
  scrape(...addresses: string[]): void;
  /** The names of the alerts that fire, with their labels in `of`. */
  firing(): Promise<readonly { readonly name: string; readonly of: Readonly<Record<string, string>> }[]>;
  /** The instances that it has scraped, as they are now. */
  up(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

/** @param rules the text of files with rules */
export async function startPrometheus(program: string, rules: readonly string[]): Promise<Prometheus> {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-prometheus-'));
  const targets = join(directory, 'targets.json');
  const scrape = (...addresses: string[]) => writeFileSync(targets, JSON.stringify([{ targets: addresses }]));
  scrape();
  for (const [index, text] of rules.entries()) writeFileSync(join(directory, `rules-${index}.yaml`), text);
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['rules-*.yaml'],
    scrape_configs: [
      { job_name: 'keymend', scrape_timeout: '1s', file_sd_configs: [{ files: [targets], refresh_interval: '1s' }] },
    ],
  };
  const path = join(directory, 'prometheus.yaml');
  writeFileSync(path, stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const where = [`--config.file=${path}`, `--storage.tsdb.path=${join(directory, 'data')}`];
  const child = spawn(program, [...where, `--web.listen-address=${address}`], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // A test run that dies must not leave servers behind.
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  const ask = async <T>(path: string) => {
    const response = await fetch(`http://${address}/${path}`);
    if (!response.ok) throw new Error(`Prometheus answers ${response.status}`);
    return ((await response.json()) as { data: T }).data;
  };
  await eventually(() => ask('api/v1/targets'));
  return {
    scrape,
    async firing() {
      const { alerts } = await ask<{ alerts: { state: string; labels: Record<string, string> }[] }>('api/v1/alerts');
      const fire = alerts.filter(({ state }) => state === 'firing');
      return fire.map(({ labels: { alertname, severity, ...of } }) => ({ name: alertname!, of }));
    },
    async up() {
      const { result } = await ask<{ result: { metric: { instance: string } }[] }>('api/v1/query?query=up==1');
      return result.map(({ metric }) => metric.instance);
    },
    async stop() {
      process.removeListener('exit', killOnExit);
      child.kill('SIGKILL');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
