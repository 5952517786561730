import { describe, expect, it, onTestFinished } from 'vitest';
import type { Endpoint, LinkConfig } from '../../src/config.js';
import { FailingKeys } from '../../src/failing-keys/counter.js';
import { countFailingKeys } from '../../src/failing-keys/counts.js';
import { type CountingLink, countKey, HOUR_MS, hourAt, KEPT_MS } from '../../src/failing-keys/names.js';
import { slotOf } from '../../src/redis/index.js';
import { type LogLine, loggerInto } from '../bridge/bridge-bed.js';
import { startCluster } from '../support/cluster.js';
import { freePort, startRedis } from '../support/redis.js';

const NOW = Date.now();
const ago = (hours: number) => new Date(NOW - hours * HOUR_MS).toISOString();
const linkAt = (source: Endpoint, name = 'l') => ({ name, source }) as LinkConfig & { source: Endpoint };

function failed(link: LinkConfig, keys: readonly (string | Buffer)[], ...times: string[]) {
  const writes = (times.length > 0 ? times : [ago(0)]).map((failedAt) => ({ event: { failedAt } }));
  return keys.map((key) => ({ link, key: Buffer.from(key), writes }));
}

async function server() {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  return redis;
}

const counts = (link: CountingLink) => countFailingKeys(link, { commandTimeoutMs: 5_000, now: NOW });

describe('the keys of a link whose writes failed', () => {
  it('count once, however many bridges tell of them and however often', async () => {
    const { url } = await server();
    const link = linkAt({ url });
    const logs: LogLine[] = [];
    const bridges = [new FailingKeys(loggerInto(logs)), new FailingKeys(loggerInto(logs))];
    for (const bridge of bridges)
      for (let turn = 0; turn < 3; turn++) bridge.saw(failed(link, ['a', 'b', 'c'], ago(0), ago(0)));
    bridges[0]!.saw(failed(linkAt({ url }, 'other'), ['z']));
    await Promise.all(bridges.map((bridge) => bridge.close()));
    expect(await counts(link)).toMatchObject({ thisHour: 3, lastDay: 3 });
    expect(await counts(linkAt({ url }, 'other'))).toMatchObject({ thisHour: 1 });
    expect(logs).toEqual([]);
  });

  it('count in the hour in which they failed, and once in the day', async () => {
    const { url } = await server();
    const link = linkAt({ url });
    const bridge = new FailingKeys(loggerInto([]));
    bridge.saw(failed(link, ['a', 'b'], ago(3), ago(1)));
    bridge.saw(failed(link, ['b', 'c'], ago(1)));
    // A clock that is ahead, and records that have waited for longer than counts are kept.
    bridge.saw(failed(link, ['d'], ago(-5)));
    bridge.saw(failed(link, ['e'], ago(50)));
    await bridge.close();
    const { thisHour, lastDay, hours } = await counts(link);
    const of = (hours: number) => `${hourAt(NOW - hours * HOUR_MS)}:00:00.000Z`;
    expect({ thisHour, lastDay }).toEqual({ thisHour: 1, lastDay: 4 });
    expect(hours).toEqual([
      { from: of(0), keys: 1 },
      { from: of(1), keys: 3 },
      { from: of(3), keys: 2 },
    ]);
  });

  it('are told apart by their bytes, also long ones', async () => {
    const { url } = await server();
    const link = linkAt({ url });
    const bridge = new FailingKeys(loggerInto([]));
    const long = 'x'.repeat(1_000_000);
    bridge.saw(failed(link, [Buffer.from([0xff]), Buffer.from([0xfe]), '', `${long}1`, `${long}2`, `${long}2`]));
    await bridge.close();
    expect(await counts(link)).toMatchObject({ thisHour: 5 });
  });

  it('are forgotten two days after their hour', async () => {
    const { url, client } = await server();
    const link = linkAt({ url });
    const bridge = new FailingKeys(loggerInto([]));
    bridge.saw(failed(link, ['a']));
    await bridge.close();
    const beginning = Date.parse(`${hourAt(NOW)}:00:00.000Z`);
    expect(await client.call('PEXPIRETIME', countKey(link, hourAt(NOW)))).toBe(beginning + KEPT_MS);
  });

  it('of a Cluster as source are in one slot, another one for other links', async () => {
    const cluster = await startCluster(3);
    onTestFinished(() => cluster.stop());
    const link = linkAt({ cluster: cluster.nodes.map(({ url }) => url) });
    const bridge = new FailingKeys(loggerInto([]));
    bridge.saw(failed(link, ['a', 'b'], ago(0), ago(2)));
    await bridge.close();
    expect(await counts(link)).toMatchObject({ thisHour: 2, lastDay: 2 });
    const slots = Array.from({ length: 40 }, (_, index) =>
      slotOf(Buffer.from(countKey({ ...link, name: `link-${index}` }, hourAt(NOW)))),
    );
    expect(new Set(slots).size).toBeGreaterThan(4);
  });
});

describe('a source that does not count', () => {
  it('that is away holds up nobody, and is told of in one line', async () => {
    const link = linkAt({ url: `redis://127.0.0.1:${await freePort()}` });
    const logs: LogLine[] = [];
    const bridge = new FailingKeys(loggerInto(logs));
    bridge.saw(failed(link, ['a', 'b']));
    await bridge.close();
    expect(logs.map(({ msg }) => msg)).toEqual([
      expect.stringMatching(
        /^2 failing keys of link l could not be counted, which hinders no repair: source of link l \(\S+\) cannot be reached/,
      ),
    ]);
    await expect(counts(link)).rejects.toThrow(/cannot be reached/);
  });

  it('that gives no right says which one', async () => {
    const { url, client } = await server();
    await client.call('ACL', 'SETUSER', 'reader', 'on', '>secret', '~*', '+@read', '+@connection');
    const link = linkAt({ url: url.replace('redis://', 'redis://reader:secret@') });
    const logs: LogLine[] = [];
    const bridge = new FailingKeys(loggerInto(logs));
    bridge.saw(failed(link, ['a']));
    await bridge.close();
    expect(logs).toHaveLength(1);
    expect(logs[0]!.msg).toMatch(/let this user run PFADD; grant \+pfadd/);
    expect(logs[0]!.msg).not.toContain('secret');
    expect(await counts(link)).toMatchObject({ thisHour: 0, lastDay: 0 });
  });

  it('that hangs keeps a bounded number waiting', async () => {
    const redis = await server();
    const link = linkAt({ url: redis.url });
    const logs: LogLine[] = [];
    const bridge = new FailingKeys(loggerInto(logs));
    redis.freeze();
    onTestFinished(() => redis.thaw());
    const keys = Array.from({ length: 1_000 }, (_, index) => `k${index}`);
    for (let turn = 0; turn < 60; turn++) bridge.saw(failed(link, keys));
    await bridge.close();
    expect(logs[0]!.msg).toMatch(/^60000 failing keys .* did not answer in time/);
  });

  it('because it is a database is not connected to', async () => {
    const logs: LogLine[] = [];
    const bridge = new FailingKeys(loggerInto(logs));
    const mysql = { url: 'mysql://127.0.0.1:1/shop', tls: false, connections: 1 };
    bridge.saw(failed({ name: 'l', source: { mysql } } as LinkConfig, ['a']));
    await bridge.close();
    expect(logs).toEqual([]);
  });
});
