/** The packages as applications install them: packed, in folders of their own. */
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { startMariadb } from '../support/mariadb.js';
import { freePort, type RedisServer, startRedis } from '../support/redis.js';
import { describeWith, stack } from '../support/services.js';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const README = 'docs/dual-writer-package.md';
/** Only a net: what is missing in npm's cache is fetched, one package after the other. */
const INSTALL_MS = 1_200_000;

let folder: string;
let servers: readonly [RedisServer, RedisServer];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keymend-packages-'));
  servers = await Promise.all([startRedis(), startRedis()]);
}, INSTALL_MS);
afterAll(async () => {
  await Promise.all((servers ?? []).map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

function npm(where: string, ...args: string[]) {
  return run('npm', [...args, '--prefer-offline', '--no-audit', '--no-fund'], { cwd: where });
}

/** @returns the path of the tarball */
async function pack(of: string): Promise<string> {
  const { stdout } = await npm(folder, 'pack', of, '--ignore-scripts', '--json');
  return join(folder, (JSON.parse(stdout) as { filename: string }[])[0]!.filename);
}

/** A new application that has installed these, and nothing else. */
async function application(name: string, ...packages: string[]): Promise<string> {
  const where = join(folder, name);
  mkdirSync(where);
  writeFileSync(join(where, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }));
  await npm(where, 'install', '--ignore-scripts', ...packages);
  return where;
}

/** The example of a page that begins so, on the servers of this test. */
function example(begins: string, page = README, west = servers[1].url): string {
  const text = readFileSync(join(ROOT, page), 'utf8');
  const [, code] = new RegExp(`\`\`\`ts\n(${begins}[\\s\\S]*?)\`\`\``).exec(text)!;
  return (
    code!
      // What a busy machine is late with would become a record.
      .replace('mirrorOptions(500)', 'mirrorOptions(30_000)')
      .replace('redis://east', servers[0].url)
      .replace('redis://west', west)
      .replace("'127.0.0.1:9092'", JSON.stringify(stack().kafka.brokers[0]))
  );
}

function bytesOf(path: string): number {
  if (!statSync(path).isDirectory()) return statSync(path).size;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
}

describe('@keymend/dual-writer', { timeout: INSTALL_MS }, () => {
  let tarball: string;
  let where: string;
  beforeAll(async () => {
    tarball = await pack(join(ROOT, 'dist/dual-writer'));
    where = await application('shop', tarball, 'ioredis@6');
  }, INSTALL_MS);

  it('does what its README shows: the write is on both sides', async () => {
    writeFileSync(join(where, 'shop.js'), `${example('import \\{ once')}\nconsole.log(JSON.stringify(left));`);
    const { stdout } = await run(process.execPath, ['shop.js'], { cwd: where });
    expect(JSON.parse(stdout)).toEqual({ notRecorded: [], unanswered: [] });
    for (const { client } of servers) expect(await client.hgetall('user:42')).toEqual({ name: 'Ada' });
  });

  it('does what the README of keymend shows: on both sides, or one record while the west is away', async () => {
    const page = 'README.md';
    const write = (west?: string) => {
      const code = `${example('import \\{ once', page, west)}\nawait redis.close();\nprocess.exit();`;
      writeFileSync(join(where, 'ten-lines.js'), code);
      return run(process.execPath, ['ten-lines.js'], { cwd: where });
    };
    const [east, west] = servers.map(({ client }) => client);
    await write();
    for (const client of [east, west]) expect(await client!.hgetall('user:43')).toEqual({ name: 'Ada' });
    expect(await east!.xlen('keymend:outbox')).toBe(0);
    await write(`redis://127.0.0.1:${await freePort()}`);
    expect(await east!.xlen('keymend:outbox')).toBe(1);
  });

  it('brings neither Temporal nor kafkajs along, and is as small as its README says', () => {
    const modules = join(where, 'node_modules');
    const installed = readdirSync(modules).filter((name) => !name.startsWith('.'));
    expect(installed).toContain('@keymend');
    for (const name of ['@temporalio', 'kafkajs']) expect(installed).not.toContain(name);
    const own = bytesOf(join(modules, '@keymend'));
    expect(own).toBeLessThan(1_000_000);
    expect(own + bytesOf(join(modules, 'zod')) + bytesOf(join(modules, 'ulid'))).toBeLessThan(8_000_000);
  });

  it('has types that need nothing which is not installed', async () => {
    writeFileSync(join(where, 'shop.ts'), example('import \\{ once'));
    writeFileSync(join(where, 'ten-lines.ts'), example('import \\{ once', 'README.md'));
    const types = join(where, 'node_modules/@types');
    mkdirSync(types, { recursive: true });
    cpSync(join(ROOT, 'node_modules/@types/node'), join(types, 'node'), { recursive: true });
    cpSync(join(ROOT, 'node_modules/undici-types'), join(where, 'node_modules/undici-types'), { recursive: true });
    const compile = [
      '--noEmit',
      '--strict',
      '--target',
      'es2023',
      '--module',
      'nodenext',
      '--types',
      'node',
      'shop.ts',
      'ten-lines.ts',
    ];
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const { stdout } = await run(process.execPath, [tsc, ...compile], { cwd: where }).catch((error) => error);
    expect(stdout).toBe('');
  });

  it('has the Kafka sink for those who install kafkajs, and says to the others what is missing', async () => {
    const code = `${example('import \\{ createKafkaRecordSink')}\nawait kafka.connect();\nawait kafka.close();\nconsole.log('connected');`;
    writeFileSync(join(where, 'kafka.js'), code);
    const missing = await run(process.execPath, ['kafka.js'], { cwd: where }).catch((error) => error);
    expect(missing.stderr).toContain("Cannot find package 'kafkajs'");
    await npm(where, 'install', '--ignore-scripts', 'kafkajs@2');
    expect((await run(process.execPath, ['kafka.js'], { cwd: where })).stdout).toBe('connected\n');
  });

  it('does what docs/dual-writer.md shows, with both sinks', async () => {
    writeFileSync(join(where, 'both.js'), example('import \\{ once', 'docs/dual-writer.md'));
    await run(process.execPath, ['both.js'], { cwd: where });
    for (const { client } of servers) expect(await client.hgetall('user:44')).toEqual({ name: 'Ada' });
  });

  it('refuses another major version of ioredis in one line', async () => {
    const older = await application('older', tarball, 'ioredis@5', '--force');
    writeFileSync(join(older, 'shop.js'), example('import \\{ once'));
    const { stderr } = await run(process.execPath, ['shop.js'], { cwd: older }).catch((error) => error);
    expect(stderr).toMatch(
      /Error: the DualWriter needs ioredis 6, and 5\.[\d.]+ is installed: npm install ioredis@6\n/,
    );
  });
});

await describeWith('the cache of @keymend/dual-writer', provideMariadb, (programs) => {
  it('updates and reads rows, with ioredis and mysql2 beside it', { timeout: INSTALL_MS }, async () => {
    const packages = [await pack(join(ROOT, 'dist/dual-writer')), 'ioredis@6', 'mysql2@3'];
    const [where, mariadb] = await Promise.all([application('pages', ...packages), startMariadb(programs)]);
    try {
      await mariadb.client.query('CREATE TABLE pages (slug VARCHAR(64) PRIMARY KEY, body TEXT)');
      await mariadb.client.query("INSERT INTO pages VALUES ('home', 'old')");
      const code = `
        import { createCache, outboxTable } from '@keymend/dual-writer/cache';
        import { Redis } from 'ioredis';
        import { createPool } from 'mysql2/promise';
        const redis = new Redis(${JSON.stringify(servers[0].url)});
        const mysql = createPool('mysql://root@127.0.0.1:${mariadb.port}/shop');
        await mysql.query(outboxTable());
        const cache = createCache({ redis, mysql, link: 'shop' });
        const body = async () => (await mysql.query('SELECT body FROM pages'))[0][0].body;
        const told = [await cache.read('page:home', body)];
        await cache.update('page:home', (tx) => tx.query("UPDATE pages SET body = 'new'"));
        told.push(await cache.read('page:home', body), await redis.get('page:home'));
        console.log(JSON.stringify([...told.map(String), (await mysql.query('SELECT 1 FROM keymend_outbox'))[0].length]));
        await cache.close();
        await mysql.end();
        redis.disconnect();`;
      writeFileSync(join(where, 'pages.js'), code);
      const { stdout } = await run(process.execPath, ['pages.js'], { cwd: where });
      expect(JSON.parse(stdout)).toEqual(['old', 'new', 'new', 1]);
      const installed = readdirSync(join(where, 'node_modules'));
      for (const name of ['@temporalio', 'kafkajs']) expect(installed).not.toContain(name);
    } finally {
      await mariadb.stop();
    }
  });
});

describe('keymend', { timeout: INSTALL_MS }, () => {
  it('is installed as a tool, without a second copy of the other package in it', async () => {
    const where = await application('operator', await pack(ROOT));
    const { stdout } = await run(join(where, 'node_modules/.bin/keymend'), ['--version'], { cwd: where });
    expect(stdout).toBe(`${JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version}\n`);
    expect(existsSync(join(where, 'node_modules/keymend/dist/dual-writer'))).toBe(false);

    // The SDK of OpenTelemetry does not come along.
    const link = '{ name: a, source: { url: redis://a }, target: { url: redis://b } }';
    const config = `kafka: { brokers: [h:1] }\ntracing: { otlp: http://collector:4318 }\nlinks: [${link}]\n`;
    writeFileSync(join(where, 'keymend.yaml'), config);
    const { stderr } = await run(join(where, 'node_modules/.bin/keymend'), ['worker'], { cwd: where }).catch(
      (error) => error,
    );
    expect(stderr).toMatch(/^.*tracing\.otlp needs the SDK of OpenTelemetry.*npm install @opentelemetry\/sdk-.*\n$/);
  });
});
