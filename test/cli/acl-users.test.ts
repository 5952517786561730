/** The users that `acl print` prints where several links have one server. */
import { expect, it, onTestFinished } from 'vitest';
import { aclUsersOf } from '../../src/cli/acl-users.js';
import { parseConfig } from '../../src/config.js';
import { startRedis } from '../support/redis.js';

const link = (name: string, source: object, target: object) => ({ name, source, target, workflowIdPrefix: `${name}/` });

/** Of keymend, by link and side. */
function users(...links: object[]) {
  const config = parseConfig(JSON.stringify({ intake: 'redis-stream', links }), 'test', {});
  const own = aclUsersOf(config.links, config.stream).filter(({ role }) => role === 'keymend');
  return new Map(own.map((user) => [`${user.link} ${user.side}`, user]));
}

it('a user of a server that is target of one link and source of another has the rights of both', async () => {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  const here = { url: server.url.replace('//', '//mender:secret@') };
  const printed = users(
    link('in', { url: 'redis://mender:a@elsewhere' }, here),
    link('out', here, { url: 'redis://mender:a@far' }),
  );
  for (const place of ['in target', 'out source']) {
    const { user, rules } = printed.get(place)!;
    await server.client.call('ACL', 'SETUSER', user, 'reset', 'on', '>secret', ...rules);
    for (const command of [
      ['RESTORE', 'key', '0', 'dump'],
      ['XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', 'keymend:outbox', '>'],
    ])
      expect(await server.client.call('ACL', 'DRYRUN', user, ...command)).toBe('OK');
  }
  // Elsewhere it has what it had.
  const alone = users(link('in', { url: 'redis://mender:a@elsewhere' }, here));
  expect(printed.get('in source')!.rules).toEqual(alone.get('in source')!.rules);
});

it.each([
  ['nodes of a Cluster', { cluster: ['redis://m@a:1', 'redis://m@b:1'] }, { cluster: ['redis://m@b:1'] }],
  [
    'a master of the same Sentinels',
    { sentinel: { name: 'm', urls: ['redis://a', 'redis://b'], username: 'm' } },
    { sentinel: { name: 'm', urls: ['redis://b:26379'], username: 'm' } },
  ],
  ['a server in two databases', { url: 'redis://m@a/1' }, { url: 'redis://m@a:6379/2' }],
])('%s are one server', (_, one, other) => {
  const printed = users(link('in', { url: 'redis://m@x' }, one), link('out', other, { url: 'redis://m@y' }));
  expect(printed.get('in target')!.rules).toEqual(printed.get('out source')!.rules);
});

it('another user of the same server, and the same user of another one, stay as they are', () => {
  const [a, b] = [{ url: 'redis://one@a' }, { url: 'redis://other@a' }];
  const printed = users(link('in', { url: 'redis://one@x' }, a), link('out', b, { url: 'redis://one@y' }));
  expect(printed.get('in target')!.rules).not.toContain('+xreadgroup');
  expect(printed.get('out source')!.rules).not.toContain('+restore');
});
