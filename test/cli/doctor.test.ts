/** What `keymend doctor` says of single servers; test/e2e/verbs/doctor.test.ts runs all of it. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Client, Connection } from '@temporalio/client';
import { describe, expect, onTestFinished, test } from 'vitest';
import { describeFinding, type Finding } from '../../src/cli/doctor/finding.js';
import { checkLink } from '../../src/cli/doctor/link.js';
import { checkServer } from '../../src/cli/doctor/redis-server.js';
import { checkRights } from '../../src/cli/doctor/rights.js';
import { checkTemporal } from '../../src/cli/doctor/temporal.js';
import { ofVersion, TRIED } from '../../src/cli/doctor/versions.js';
import { type Config, parseConfig } from '../../src/config.js';
import { provideFaketime, provideValkey9 } from '../../src/stack/programs/index.js';
import { startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { type RedisOptions, startRedis } from '../support/redis.js';
import { describeWith, stack } from '../support/services.js';

function configOf(target: object, source: object = { url: 'redis://nowhere' }): Config {
  const links = [{ name: 'l', source, target }];
  return parseConfig(JSON.stringify({ kafka: { brokers: ['h:1'] }, links }), 'keymend.yaml', {});
}

const linkTo = (target: object, source?: object) => configOf(target, source).links[0]!;

async function redis(extra?: readonly string[], options?: RedisOptions) {
  const server = await startRedis(extra, options);
  onTestFinished(() => server.stop());
  return server;
}

const lines = (findings: readonly Finding[]) => findings.flatMap(describeFinding);

describe('of a Cluster', () => {
  async function cluster() {
    const started = await startCluster(3);
    onTestFinished(() => started.stop());
    return { nodes: started.nodes, link: linkTo({ cluster: [started.nodes[0]!.url] }) };
  }

  test('what is so at all masters is one line', async () => {
    const { link, nodes } = await cluster();
    const all = await checkServer(link, 'target');
    const whole = `target of link l (Cluster at ${new URL(nodes[0]!.url).host})`;
    expect(all).toEqual([
      { level: 'ok', message: expect.stringContaining(`${whole}: version `), remedy: null },
      { level: 'ok', message: `${whole}: memory policy noeviction, no limit`, remedy: null },
      { level: 'ok', message: `${whole}: user default may do what keymend needs`, remedy: null },
    ]);
  });

  test('the one master that is set up otherwise is named, for its memory and its rights', async () => {
    const { link, nodes } = await cluster();
    const { client, url } = nodes[2]!;
    await client.config('SET', 'maxmemory', '1gb');
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await client.call('ACL', 'SETUSER', 'default', '-restore');
    const one = `target of link l (${new URL(url).host})`;
    const said = lines(await checkServer(link, 'target'));
    expect(said).toContainEqual(expect.stringContaining(`warn  ${one} evicts keys (maxmemory-policy allkeys-lru)`));
    expect(said).toContainEqual(
      expect.stringMatching(/^ok {4}target of link l \(Cluster at \S+\), 2 of 3 masters: mem/),
    );
    const refused = `fail  ${one}: user default may not use RESTORE, needed to repair keys`;
    expect(said).toContain(refused);
    expect(lines(await checkRights(link, 'target'))).toContain(refused);
  });
});

test('a server that uses nearly all of its memory is warned of', async () => {
  const { url, client } = await redis();
  const used = Number(/used_memory:(\d+)/.exec(await client.info('memory'))![1]);
  await client.config('SET', 'maxmemory', `${Math.round(used * 1.05)}`);
  expect(lines(await checkServer(linkTo({ url }), 'target'))).toContainEqual(
    expect.stringMatching(/^warn {2}target of link l \(\S+\) uses \d+ % of its maxmemory$/),
  );
});

test('a command that was renamed fails, with what it is needed for', async () => {
  const { url } = await redis(['--rename-command', 'DUMP', '']);
  const findings = await checkServer(linkTo({ url }), 'target');
  expect(findings).toContainEqual({
    level: 'fail',
    message: expect.stringMatching(/ does not know DUMP, needed to repair keys$/),
    remedy: 'give the commands their names back (rename-command)',
  });
});

const provide = async (provision: Parameters<typeof provideFaketime>[0]) => ({
  faketime: await provideFaketime(provision),
  valkey: await provideValkey9(provision),
});

await describeWith('a target whose clock is five seconds ahead', provide, ({ faketime, valkey: binary }) => {
  test('is warned of', async () => {
    const source = await redis();
    const environment = { FAKETIME: '+5s', FAKETIME_DONT_FAKE_MONOTONIC: '1', LD_PRELOAD: faketime };
    const target = await redis([], { binary, environment });
    const findings = await checkLink(linkTo({ url: target.url }, { url: source.url }));
    expect(findings).toContainEqual({
      level: 'warn',
      message: expect.stringMatching(/^link l: the target's clock is [45]\d{3} ms ahead of the source's$/),
      remedy: 'set both clocks (NTP): keys expire at other times on the target',
    });
  });
});

describe('a version', () => {
  const judged = (about: Record<string, string>) => ofVersion('it', new Map(Object.entries(about)));

  test.each([
    ['ok', { redis_version: '6.2.21' }],
    ['ok', { redis_version: '7.2.4' }],
    ['ok', { redis_version: '8.2.1' }],
    ['ok', { redis_version: '7.2.4', valkey_version: '9.1.0' }],
    ['fail', { redis_version: '6.0.16' }],
    ['warn', { redis_version: '8.10.0' }],
    ['warn', { redis_version: '7.2.4', valkey_version: '8.1.0' }],
    ['warn', { redis_version: '7.2.4', valkey_version: '10.0.0' }],
    ['warn', {}],
  ])('is %s: %o', (level, about) => {
    expect(judged(about)).toMatchObject({ level, remedy: level === 'ok' ? null : expect.any(String) });
  });

  test('that was tried is one that README.md names', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    expect(readme).toContain(`with Redis ${TRIED.Redis.join(', ')} and Valkey ${TRIED.Valkey.join(', ')}`);
  });
});

test('a namespace that forgets within a day what became of a key is warned of', async () => {
  const { address } = stack().temporal;
  const connection = await Connection.connect({ address });
  onTestFinished(() => connection.close());
  const namespace = `short-${randomUUID()}`;
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 3_600 as never },
  });
  const client = new Client({ connection, namespace });
  // The frontend learns of it a moment later.
  await eventually(() => client.workflow.count());
  const findings = await checkTemporal(client, configOf({ url: 'redis://there' }), { options: {}, address, namespace });
  expect(findings).toContainEqual({
    level: 'warn',
    message: expect.stringMatching(/ keeps closed workflows for 0 days: what became of a key is soon forgotten$/),
    remedy: `\`temporal operator namespace update --retention 3d ${namespace}\``,
  });
});
