import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadConfig } from '../../src/config.js';
import { givenAddresses } from '../../src/stack/environment.js';
import { startHttp } from '../../src/telemetry/http.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { freePort } from '../support/redis.js';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

const text = z.string().min(1);
const duration = z.string().regex(/^\d+s$/);
const word = z.union([text, z.literal('')]);

/**
 * The part of the Compose Specification that the file uses; strict, so that a misspelt key is
 * found.
 */
const composeService = z.strictObject({
  image: z.string().regex(/^[a-z0-9/-]+(:[\w.-]+)?$/),
  build: z.literal('.').optional(),
  profiles: z.tuple([z.enum(['mysql', 'monitoring'])]).optional(),
  init: z.boolean().optional(),
  stop_grace_period: duration.optional(),
  entrypoint: z.array(text).optional(),
  command: z.array(word).optional(),
  working_dir: z.string().startsWith('/').optional(),
  environment: z.record(z.string().regex(/^[A-Z_]+$/), z.union([z.string(), z.number()])).optional(),
  ports: z.array(z.string().regex(/^127\.0\.0\.1:\d+:\d+$/, 'must be open to this machine only')).optional(),
  volumes: z.array(z.string().regex(/^[\w./-]+:\/[\w./-]+(:ro)?$/)).optional(),
  healthcheck: z
    .strictObject({
      test: z.array(text).refine(([kind]) => kind === 'CMD' || kind === 'CMD-SHELL'),
      interval: duration,
      timeout: duration,
      retries: z.number().int().positive(),
      start_period: duration.optional(),
    })
    .optional(),
  read_only: z.literal(true).optional(),
  cap_drop: z.tuple([z.literal('ALL')]).optional(),
  security_opt: z.tuple([z.literal('no-new-privileges:true')]).optional(),
  depends_on: z
    .record(text, z.strictObject({ condition: z.enum(['service_healthy', 'service_completed_successfully']) }))
    .optional(),
  restart: z.string().regex(/^(unless-stopped|on-failure:\d+)$/),
});

const composeFile = z.strictObject({
  name: text,
  services: z.record(text, composeService),
  volumes: z.record(text, z.null()),
});

function readCompose(): z.output<typeof composeFile> {
  const file = parse(readFileSync(join(REPOSITORY, 'docker-compose.yml'), 'utf8'), { merge: true }) as object;
  return composeFile.parse(Object.fromEntries(Object.entries(file).filter(([key]) => !key.startsWith('x-'))));
}

describe('docker-compose.yml', () => {
  const { services, volumes } = readCompose();
  const onceOnly = Object.entries(services).filter(([, { restart }]) => restart.startsWith('on-failure'));

  test('has Temporal with PostgreSQL and Web UI, Kafka, two Redis, bridge and worker', () => {
    expect(Object.keys(services)).toEqual(
      expect.arrayContaining(['postgres', 'temporal', 'temporal-ui', 'kafka', 'redis-source', 'redis-target']),
    );
    expect(services.bridge?.command).toEqual(['bridge']);
    expect(services.worker?.command).toEqual(['worker']);
    // The 10 s of Docker would end them amid attempts.
    for (const { stop_grace_period } of [services.bridge!, services.worker!]) expect(stop_grace_period).toBe('30s');
  });

  test('pins every image that it does not build', () => {
    for (const { image, build } of Object.values(services)) {
      if (!build) expect(image).toMatch(/:\w*\d+\.?\d*/);
      expect(image).not.toContain('latest');
    }
  });

  test('runs the line of Temporal that the local stack fetches, with tools of the same version', () => {
    const server = services.temporal?.image.replace('temporalio/server:', '');
    expect(server).toMatch(/^1\.32\./);
    for (const name of ['temporal-schema', 'temporal-namespace']) {
      expect(services[name]?.image).toBe(`temporalio/admin-tools:${server}`);
    }
  });

  test('checks the health of every service, but for those that run to their end', () => {
    const unchecked = Object.keys(services).filter((name) => services[name]?.healthcheck === undefined);
    expect(unchecked.sort()).toEqual(onceOnly.map(([name]) => name).sort());
  });

  test('waits for what can be waited for: health of what goes on, the end of what ends', () => {
    const ending = new Set(onceOnly.map(([name]) => name));
    for (const { depends_on } of Object.values(services)) {
      for (const [name, { condition }] of Object.entries(depends_on ?? {})) {
        expect(services).toHaveProperty([name]);
        expect(condition).toBe(ending.has(name) ? 'service_completed_successfully' : 'service_healthy');
      }
    }
  });

  test('lets bridge and worker write nowhere, gain no rights, and be asked by their health check and Prometheus', () => {
    const { http } = loadConfig(join(REPOSITORY, 'docker', 'keymend.yaml'), {});
    for (const name of ['bridge', 'worker']) {
      expect(services[name]).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        environment: { KEYMEND_PORT: http!.port },
      });
      expect(services[name]?.healthcheck?.test.at(-1)).toBe('/app/docker/livez.js');
    }
    const { scrape_configs } = parse(readFileSync(join(REPOSITORY, 'docker', 'prometheus.yaml'), 'utf8')) as {
      scrape_configs: { authorization: object; dns_sd_configs: { names: string[]; port: number }[] }[];
    };
    expect(scrape_configs[0]).toMatchObject({
      authorization: { credentials: http!.token },
      dns_sd_configs: [{ names: ['bridge', 'worker'], port: http!.port }],
    });
    const mounted = Object.values(services).flatMap((service) => service.volumes ?? []);
    const files = mounted.map((volume) => volume.split(':')[0]!).filter((source) => source.startsWith('./'));
    expect(files.filter((file) => !existsSync(join(REPOSITORY, file)))).toEqual([]);
  });

  test('keeps the data of every store in a named volume', () => {
    const mounted = Object.values(services).flatMap((service) => service.volumes ?? []);
    const named = mounted.map((volume) => volume.split(':')[0] ?? '').filter((source) => !source.startsWith('./'));
    expect(named.sort()).toEqual(Object.keys(volumes).sort());
    for (const name of ['redis-source', 'redis-target']) {
      expect(services[name]?.command?.join(' ')).toContain('--appendonly yes');
    }
  });

  test('gives bridge and worker a configuration that the product accepts, of services that are there', () => {
    const config = loadConfig(join(REPOSITORY, 'docker', 'keymend.yaml'), {});
    const { temporal, kafka, redisSource, redisTarget } = givenAddresses(
      services['services-setup']?.environment as NodeJS.ProcessEnv,
    );
    expect(config.temporal.address).toBe(temporal?.address);
    expect(config).toMatchObject({ intake: 'kafka', kafka: { brokers: kafka?.brokers } });
    expect(services.kafka?.environment?.KAFKA_ADVERTISED_LISTENERS).toContain(`//${kafka?.brokers[0]}`);
    expect(config.links.map(({ source, target }) => [source, target])).toEqual([
      [{ url: redisSource }, { url: redisTarget }],
    ]);
    for (const name of ['bridge', 'worker']) {
      const [mount] = services[name]?.volumes ?? [];
      expect(mount).toBe(`./docker/keymend.yaml:${services[name]?.environment?.KEYMEND_CONFIG}:ro`);
    }
  });
});

describe('Dockerfile', () => {
  const dockerfile = readFileSync(join(REPOSITORY, 'Dockerfile'), 'utf8');

  const [, built] = dockerfile.split(/^FROM .* AS build$/m);
  const image = built!.slice(built!.lastIndexOf('\nFROM '));

  test('is built in stages on one line of Node and Debian, without a shell, and runs as nobody special', () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    const [, node] = /^node:(\d+)-bookworm-slim$/.exec(bases[0]!)!;
    expect(new Set(bases.slice(0, -1)).size).toBe(1);
    expect(bases.at(-1)).toBe(`gcr.io/distroless/nodejs${node}-debian12:nonroot`);
    expect(image).not.toMatch(/^RUN /m);
    expect(image).toMatch(/^USER 65532:65532$/m);
    for (const call of ['ENTRYPOINT', 'HEALTHCHECK'])
      expect(image).toMatch(new RegExp(`^${call} .*\\["/nodejs/bin/node", `, 'm'));
  });

  test('has what runs, and neither sources nor tools', () => {
    const copied = [...image.matchAll(/^COPY --from=build \/app\/(\S+)/gm)].map(([, path]) => path);
    expect(copied).toEqual(['package.json', 'node_modules', 'dist', 'schemas', 'docker/livez.js']);
  });

  test('has a health check that asks the process alone, and is silent where it can not be asked', async () => {
    const check = async (port?: number) => {
      const environment = port === undefined ? {} : { KEYMEND_PORT: `${port}` };
      const child = spawn(process.execPath, [join(REPOSITORY, 'docker/livez.js')], { env: environment });
      return ((await once(child, 'exit')) as [number])[0];
    };
    const port = await freePort();
    expect([await check(), await check(port)]).toEqual([0, 1]);
    const options = {
      config: { host: '127.0.0.1', port },
      metrics: new Metrics(),
      logger: pino({ level: 'silent' }),
    };
    const http = await startHttp({ ...options, notReady: () => ['what it needs is away'] });
    onTestFinished(() => http.close());
    expect(await check(port)).toBe(0);
  });

  test('gets all that its build reads and its image has past .dockerignore', async () => {
    const ignore = readFileSync(join(REPOSITORY, '.dockerignore'), 'utf8');
    const [all, ...admitted] = ignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect([all, admitted.filter((line) => !line.startsWith('!'))]).toEqual(['*', []]);
    const folder = mkdtempSync(join(tmpdir(), 'keymend-image-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    for (const path of admitted.map((line) => line.slice(1)))
      cpSync(join(REPOSITORY, path), join(folder, path), { recursive: true });
    symlinkSync(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'));
    const copied = [...dockerfile.matchAll(/^COPY (?!--from=tracing)(?:--from=build \/app\/)?(.*) \S+$/gm)];
    const paths = copied.flatMap(([, each = '']) => each.split(' '));
    expect(paths).toEqual(expect.arrayContaining(['package-lock.json', '.', 'dist']));
    expect(dockerfile).toMatch(/^RUN npm run build /m);
    await promisify(execFile)('npm', ['run', 'build'], { cwd: folder });
    expect(paths.filter((path) => !existsSync(join(folder, path)))).toEqual([]);
  });
});
