/** What a verb loads before it answers: a person on call waits for that each time. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSandbox, runKeymend, type Sandbox, spawnKeymend } from '../../support/keymend.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

interface Loaded {
  readonly packages: string[];
  readonly files: string[];
}

/** The packages, and the files of the house, whose code `run` ran: V8 itself keeps the list. */
async function loaded(run: (environment: NodeJS.ProcessEnv) => Promise<void>): Promise<Loaded> {
  const folder = mkdtempSync(join(tmpdir(), 'keymend-loads-'));
  try {
    await run({ NODE_V8_COVERAGE: folder });
    const urls = readdirSync(folder).flatMap((name) => {
      const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { result: { url: string }[] };
      return result.map(({ url }) => url);
    });
    const names = (pattern: RegExp) => [...new Set(urls.flatMap((url) => pattern.exec(url)?.[1] ?? []))].sort();
    return { packages: names(/.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//), files: names(/\/dist\/(.*)$/) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function loadedBy(...args: string[]): Promise<Loaded> {
  return loaded(async (environment) => {
    const { code, stderr } = await runKeymend(args, environment);
    if (code !== 0) throw new Error(stderr);
  });
}

/** What only a process that runs on has a use for. */
const HEAVY = /^(@temporalio\/(worker|workflow|core-bridge|testing)|webpack|swc-loader|@swc\/.*)$/;

describe('the help', () => {
  it.each([
    [['--help']],
    [['status', '--help']],
    [['worker', '--help']],
    [['sweep', 'rerun', '--help']],
    [['--version']],
  ])('%j loads the command line alone', async (args) => {
    const { packages, files } = await loadedBy(...args);
    expect(packages).toEqual(['commander']);
    expect(files.filter((file) => !/^src\/cli\/(usage\/)?[^/]+\.js$/.test(file))).toEqual([]);
  });
});

describe('keymend status', () => {
  it('loads nothing of a worker, of the local services or of the demo', async () => {
    const { packages, files } = await loadedBy('status', '--config', sandbox.configure({}));
    expect(packages).toContain('@temporalio/client');
    expect(packages.filter((name) => HEAVY.test(name) || name === 'mysql2')).toEqual([]);
    expect(files.filter((file) => /^(activities|src\/(worker|stack|demo|dual-write))\//.test(file))).toEqual([]);
  });

  it('loads a client of Kafka only where failed writes come from there', async () => {
    const stream = sandbox.configure({ config: { intake: 'redis-stream', kafka: undefined } });
    expect((await loadedBy('status', '--config', stream)).packages).not.toContain('kafkajs');
    expect((await loadedBy('status', '--config', sandbox.configure({}))).packages).toContain('kafkajs');
  });

  it('loads no Redis client for a list of escalated keys', async () => {
    const { packages } = await loadedBy('escalations', '--config', sandbox.configure({}));
    expect(packages.filter((name) => HEAVY.test(name) || ['kafkajs', 'ioredis'].includes(name))).toEqual([]);
  });
});

it('keymend worker starts without bundling its workflows', async () => {
  const { packages } = await loaded(async (environment) => {
    const worker = spawnKeymend(['worker', '--config', sandbox.configure({})], environment);
    await worker.logged('worker is ready');
    expect(await worker.stop()).toBe(0);
  });
  expect(packages).toContain('@temporalio/worker');
  // Without what it works with, which is loaded when it begins.
  expect(packages.filter((name) => /^(webpack-sources|enhanced-resolve|tapable)$/.test(name))).toEqual([]);
});

it('the options of every verb are taken before its name, too', async () => {
  // Others have escalated keys of the usual link.
  const name = `loads-${sandbox.prefix.slice(0, -1)}`;
  const path = sandbox.configure({ link: { name } });
  const before = await runKeymend(['--config', path, '--output', 'json', 'escalations', '--link', name]);
  const behind = await runKeymend(['escalations', '--link', name, '-c', path, '-o', 'json']);
  expect(before).toEqual(behind);
  expect(JSON.parse(before.stdout)).toBeInstanceOf(Array);
});
