/** `acl check --application`: whether a user has what `acl print` prints for an application. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { aclUsersOf, needsOfApplication } from '../../src/cli/acl-users.js';
import { describeFinding } from '../../src/cli/doctor/finding.js';
import { checkRights } from '../../src/cli/doctor/rights.js';
import { aclCheck } from '../../src/cli/verbs/acl.js';
import { parseConfig } from '../../src/config.js';
import { startRedis } from '../support/redis.js';

const MAPPINGS = [{ key: 'user:{id}', query: 'SELECT 1 FROM users WHERE id = :id', value: 'json' }];

/** A server that is source and target, with users of what was printed for applications. */
async function bed(isCache = false, stream?: object) {
  const { url, client, stop } = await startRedis();
  onTestFinished(stop);
  const of = (user: string) => ({ url: url.replace('//', `//${user}@`) });
  const source = isCache ? { mysql: { url: 'mysql://db/shop' } } : of('default');
  const links = [{ name: 'l', source, target: { url }, ...(isCache && { mappings: MAPPINGS }) }];
  const config = parseConfig(JSON.stringify({ kafka: { brokers: ['h:1'] }, stream, links }), 'test', {});
  const [link] = config.links as [(typeof config.links)[0]];
  for (const { side, role, rules } of aclUsersOf(config.links, config.stream))
    if (role === 'application') await client.call('ACL', 'SETUSER', `app-of-${side}`, 'on', '>x', ...rules);
  const check = async (side: 'source' | 'target', user = `app-of-${side}`) => {
    const asked = { user, ...needsOfApplication(link, config.stream, side) };
    return (await checkRights(link, side, asked)).flatMap(describeFinding);
  };
  return { client, check };
}

it('whoever has what was printed may do all that an application does', async () => {
  const { check } = await bed();
  for (const side of ['source', 'target'] as const)
    expect(await check(side)).toEqual([
      expect.stringMatching(/^ok {4}.*: user app-of-\w+ may do what an application with a DualWriter needs$/),
    ]);
  const cache = await bed(true);
  expect(await cache.check('target')).toEqual([expect.stringMatching(/^ok .* with a cache of keymend\/cache needs$/)]);
});

it('an outbox whose name is a pattern by itself is touched by its own name', async () => {
  const { check } = await bed(false, { key: 'app[1]:outbox' });
  expect(await check('source')).toEqual([expect.stringMatching(/^ok /)]);
});

it('what is missing is named: a command, the keys, a channel', async () => {
  const { client, check } = await bed();
  await client.call('ACL', 'SETUSER', 'app-of-source', '-xadd');
  expect(await check('source')).toEqual([
    expect.stringMatching(/^fail .*: user app-of-source may not use XADD, needed for the outbox$/),
    '      ACL SETUSER app-of-source +xadd',
  ]);
  await client.call('ACL', 'SETUSER', 'app-of-target', 'resetkeys', '~app:*');
  expect(await check('target')).toEqual([
    expect.stringMatching(
      /^fail .* may not touch keymend:writer:\* with GET, SET, PTTL, needed for the marks of writers$/,
    ),
    '      ACL SETUSER app-of-target ~keymend:writer:*',
  ]);
  const cache = await bed(true);
  await cache.client.call('ACL', 'SETUSER', 'app-of-target', 'resetchannels');
  expect(await cache.check('target')).toEqual([
    expect.stringMatching(
      /^fail .* may not touch keymend:lease:\* with PUBLISH, SUBSCRIBE, needed to tell other readers$/,
    ),
    '      ACL SETUSER app-of-target &keymend:lease:*',
  ]);
});

it('a user that is not there fails', async () => {
  const { check } = await bed();
  expect(await check('target', 'nobody')).toEqual([
    expect.stringMatching(/^fail .*: there is no user nobody$/),
    '      name one of those that ACL USERS lists there',
  ]);
});

it('a side that is a database has nothing to be checked, and that is no success', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'keymend-acl-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'keymend.yaml');
  const link = { name: 'l', source: { mysql: { url: 'mysql://db/shop' } }, target: { url: 'redis://a' } };
  writeFileSync(config, JSON.stringify({ kafka: { brokers: ['h:1'] }, links: [{ ...link, mappings: MAPPINGS }] }));
  await expect(aclCheck({ side: 'source' }, { config, output: 'text', logLevel: 'info' })).rejects.toThrow(
    /ask for --side target$/,
  );
});
