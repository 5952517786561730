import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stackUp } from '../../src/stack/index.js';
import { provideKafka } from '../../src/stack/kafka-program.js';
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
  // Not the real one: what it installs is there already, and can't be taken from under the other tests.
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
