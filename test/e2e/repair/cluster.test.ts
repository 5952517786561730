/** Links from and to a Cluster as an operator has them: configured, checked, shown, at work. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LinkReport } from '../../../src/cli/status/link-status.js';
import { type RedisCluster, startCluster } from '../../support/cluster.js';
import { compareRedis } from '../../support/compare.js';
import { until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

let sandbox: Sandbox;
let source: RedisCluster;
let target: RedisCluster;
const urls = ({ nodes }: RedisCluster) => nodes.map(({ url }) => url);
const places = ({ nodes }: RedisCluster) => nodes.map(({ port }) => `127.0.0.1:${port}`).join(', ');
const keysIn = async ({ nodes }: RedisCluster) => {
  const sizes = await Promise.all(nodes.map(({ client }) => client.dbsize()));
  return sizes.reduce((sum, size) => sum + size, 0);
};

beforeAll(async () => {
  [sandbox, source, target] = await Promise.all([createSandbox(), startCluster(2), startCluster(3)]);
});
afterAll(async () => {
  await sandbox?.close();
  await Promise.all([source?.stop(), target?.stop()]);
});
beforeEach(() => {
  sandbox.configure({ link: { source: { cluster: urls(source) }, target: { cluster: urls(target) } } });
});

describe('a link from a Cluster to a Cluster', () => {
  it('repairs what failed', async () => {
    const keys = Array.from({ length: 40 }, (_, index) => `user:${index}`);
    for (const [index, key] of keys.entries()) {
      await source.client.hset(key, { name: `n${index}` });
      if (index % 2 === 0) await target.client.set(key, 'stale');
    }
    const running = await sandbox.start('start');
    await sandbox.producer.send({ topic: sandbox.topic, messages: keys.map((key) => recordOf(key)) });
    await until(async () => {
      const types = await Promise.all(keys.map((key) => target.client.type(key)));
      return types.every((type) => type === 'hash');
    });
    expect(await compareRedis(source.client, target.client)).toEqual([]);
    expect(await running.stop()).toBe(0);
  });

  it('is checked and shown, master by master', async () => {
    const checked = await sandbox.keymend('config', 'check');
    expect(checked.stdout).toContain('ok      target of link east-to-west');
    const { stdout, code } = await sandbox.keymend('status');
    expect(code).toBe(0);
    // The 40, and on the source which keys have failed in an hour.
    const held = await keysIn(source);
    expect(held - 40).toBeLessThan(3);
    const [link, ofSource, first, second, ofTarget, ...rest] = stdout.split('\n').map((line) => line.trim());
    expect([link, ofSource]).toEqual([
      'link east-to-west',
      `source (Cluster at ${places(source)}) has 2 masters with ${held} keys`,
    ]);
    const keys = [first!, second!].map((line) =>
      Number(/^source \(127\.0\.0\.1:\d+\) is a master with (\d+) keys$/.exec(line)![1]),
    );
    expect(keys[0]! + keys[1]!).toBe(held);
    // keymend's own are beside the 40 there: what they come to is estimated by a sample.
    const [, estimate] = /^target \(Cluster at .*\) has 3 masters with (\d+) keys$/.exec(ofTarget!)!;
    expect(Math.abs(Number(estimate) - 40)).toBeLessThan(20);
    expect(rest.at(3)).toBe('deletes are allowed');
  });

  it('says which master is the matter', async () => {
    const [node] = target.nodes;
    node!.freeze();
    try {
      const what = `(127.0.0.1:${node!.port}) did not answer in time; look at its load and at the network in between`;
      const { code, stdout } = await sandbox.keymend('config', 'check');
      expect(code).toBe(1);
      expect(stdout).toContain(`FAILED  target of link east-to-west ${what}`);
      const shown = await sandbox.keymend('status', '--output', 'json');
      const [report] = (JSON.parse(shown.stdout) as { links: LinkReport[] }).links;
      expect(report!.target.problem).toBe(`target ${what}`);
      expect(report!.target.masters!.map(({ role }) => role).sort()).toEqual(['master', 'master', null]);
    } finally {
      node!.thaw();
    }
  });

  it('shows an emptied shard of the source, for which deletes are refused', async () => {
    const [emptied] = source.nodes;
    await emptied!.client.flushall();
    const shown = await sandbox.keymend('status', '--output', 'json');
    const [report] = (JSON.parse(shown.stdout) as { links: LinkReport[] }).links;
    expect(report).toMatchObject({ deletes: 'refused' });
    expect(report!.reason).toContain(`source (127.0.0.1:${emptied!.port}) has 0 keys and target`);
  });
});

describe('a configuration', () => {
  it.each([
    [
      'that selects a database of a Cluster',
      () => ({ cluster: [`${urls(target)[0]}/1`] }),
      /links\[0\]\.target\.cluster\[0\]: selects a database; a Cluster has database 0 alone, so leave it out/,
    ],
    [
      'that calls a single server a Cluster',
      () => ({ cluster: [sandbox.target.url] }),
      /target of link east-to-west \(Cluster at .*\) is no Cluster; write \{ url: … \} in the link/,
    ],
  ])('%s is refused in one line', async (_what, endpoint, why) => {
    sandbox.configure({ link: { source: { cluster: urls(source) }, target: endpoint() } });
    const { code, stdout, stderr } = await sandbox.keymend('config', 'check');
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(why);
  });

  it('with database 0 of a Cluster is taken', async () => {
    const [first] = urls(target);
    sandbox.configure({
      link: { source: { cluster: urls(source) }, target: { cluster: [`${first}/0`, `${first}/`] } },
    });
    expect(await sandbox.keymend('config', 'check')).toMatchObject({ code: 0 });
  });
});
