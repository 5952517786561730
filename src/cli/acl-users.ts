/** The users of Redis that a link needs, with no more rights than that. */
import type { LinkConfig, StreamConfig } from '../config.js';
import { isOwnKey } from '../own-keys.js';
import { addressAt, SENTINEL_PORT } from '../redis/connection/address.js';
import { CLUSTER, DATABASE, NEEDS, type Need } from '../redis/needed-commands.js';
import { parseRedisUrl } from '../redis-url.js';

export interface AclUser {
  readonly link: string;
  readonly side: 'source' | 'target';
  /** `application`: what it needs beside its own rights, for a DualWriter or a `keymend/cache`. */
  readonly role: 'keymend' | 'application';
  /** As the configuration has it; of an application nobody knows. */
  readonly user: string;
  /** As ACL SETUSER takes them, without a password. */
  readonly rules: readonly string[];
  /** Besides, where the server is of Redis 7.4, Valkey 9 or newer: others refuse the names. */
  readonly rulesOfNewer: readonly string[];
}

/** The users of the default setup have no name of their own, and all rights. */
const UNNAMED = 'keymend';
const REDIS_PORT = 6379;

/**
 * Of several links. One server may be of two, or the source of one and the target of another: a
 * user there needs the rights of all, as each command begins with taking away what it had.
 */
export function aclUsersOf(links: readonly LinkConfig[], stream: StreamConfig): AclUser[] {
  const all = links.flatMap((link) => aclUsers(link, stream).map((user) => ({ user, of: link[user.side] })));
  return all.map(({ user, of }) => {
    if (user.role === 'application' || 'mysql' in of) return user;
    const same = all
      .filter(
        ({ user: { role, user: name }, of: other }) => role === user.role && name === user.user && isSame(of, other),
      )
      .map((each) => each.user);
    const rules = united(same.map((each) => each.rules));
    // Redis refuses a pattern beside that of all keys.
    const kept = rules.includes('~*') ? rules.filter((rule) => rule === '~*' || !/^[~%]/.test(rule)) : rules;
    return { ...user, rules: kept, rulesOfNewer: united(same.map(({ rulesOfNewer }) => rulesOfNewer)) };
  });
}

/** Patterns first, as one user has them. */
function united(lists: readonly (readonly string[])[]): string[] {
  const rules = [...new Set(lists.flat())];
  return [...rules.filter((rule) => !rule.startsWith('+')), ...rules.filter((rule) => rule.startsWith('+')).sort()];
}

/** As far as the configuration tells: of two names for one address nothing is known. */
function isSame(one: Endpoint, other: LinkConfig['source']): boolean {
  return !('mysql' in other) && placesOf(one).some((place) => placesOf(other).includes(place));
}

function placesOf(endpoint: Endpoint): string[] {
  const at = (url: string, usualPort: number) => {
    const { host = 'localhost', port = usualPort, path } = parseRedisUrl(url);
    return path ?? addressAt(host, port);
  };
  if ('sentinel' in endpoint) {
    const { name, urls } = endpoint.sentinel;
    return urls.map((url) => `${name} of ${at(url, SENTINEL_PORT)}`);
  }
  return ('cluster' in endpoint ? endpoint.cluster : [endpoint.url]).map((url) => at(url, REDIS_PORT));
}

function aclUsers(link: LinkConfig, stream: StreamConfig): AclUser[] {
  const { name, source, target } = link;
  const user = (side: AclUser['side'], role: AclUser['role'], rules: readonly string[]): AclUser => {
    const endpoint = link[side];
    const named = role === 'application' || 'mysql' in endpoint ? undefined : userOf(endpoint);
    const who = named ?? (role === 'application' ? 'application' : UNNAMED);
    const rulesOfNewer = role === 'application' ? [] : allowed(commandsOf(side, true));
    return { link: name, side, role, user: who, rules, rulesOfNewer };
  };
  const ofKeymend = (side: AclUser['side'], endpoint: Endpoint) =>
    allowed([...commandsOf(side, false), ...connecting(endpoint), ...ASKING]);
  const ofApplication = (side: AclUser['side']) =>
    user(side, 'application', rulesFor(needsOfApplication(link, stream, side).needs));
  const keymendOnTarget = user('target', 'keymend', ['~*', ...ofKeymend('target', target)]);
  if ('mysql' in source) return [keymendOnTarget, ofApplication('target')];
  const outbox = [stream.key, stream.deadLetterKey].filter((stream) => !isOwnKey(Buffer.from(stream))).map(patternOf);
  return [
    // It writes nothing there but its own keys, and can't.
    user('source', 'keymend', ['%R~*', '~keymend:*', ...outbox, ...ofKeymend('source', source)]),
    keymendOnTarget,
    ofApplication('source'),
    ofApplication('target'),
  ];
}

/** So that `doctor` can say what is missing, and CLIENT LIST whose a connection is. */
const ASKING = ['acl|whoami', 'acl|dryrun', 'client|setname'];
/** For the outbox, in either mode. */
const APPLICATION_ON_SOURCE = ['command', 'eval', 'evalsha', 'type', 'time', 'rename', 'xadd', 'xdel', 'xlen'];
/** For the marks of the writers. */
const APPLICATION_ON_TARGET = ['eval', 'evalsha', 'get', 'set', 'pttl', 'time'];
/** For the leases of readers, and the versions that were written. */
export const OF_A_CACHE: readonly string[] = ['~keymend:lease:*', '~keymend:version:*', '&keymend:lease:*'];
const CACHES = ['eval', 'get', 'set', 'del', 'unlink', 'pttl', 'pexpire', 'publish', 'subscribe', 'unsubscribe'];

type ApplicationNeed = Need & { readonly on: NonNullable<Need['on']> };

/** What an application needs on a side beside its own rights, each on what it is needed for. */
export function needsOfApplication(
  link: LinkConfig,
  { key }: StreamConfig,
  side: AclUser['side'],
): { readonly whose: string; readonly needs: readonly ApplicationNeed[] } {
  const need = (
    what: string,
    pattern: string,
    commands: readonly string[],
    begin = pattern.slice(1, -1),
  ): ApplicationNeed => {
    return { what, commands, isVital: true, on: { name: `${begin}doctor`, pattern } };
  };
  if ('mysql' in link.source) {
    const [leases, versions, channels] = OF_A_CACHE as [string, string, string];
    const isOfChannel = (command: string) => /publish|subscribe/.test(command);
    const needs = [
      need(
        'for the leases of readers',
        leases,
        CACHES.filter((command) => !isOfChannel(command)),
      ),
      need('for versions', versions, ['get', 'set']),
      need('to tell other readers', channels, CACHES.filter(isOfChannel)),
    ];
    return { whose: 'an application with a cache of keymend/cache needs', needs };
  }
  const needs =
    side === 'source'
      ? [need('for the outbox', patternOf(key), APPLICATION_ON_SOURCE, key)]
      : [need('for the marks of writers', '~keymend:writer:*', APPLICATION_ON_TARGET)];
  return { whose: 'an application with a DualWriter needs', needs };
}

function rulesFor(needs: readonly ApplicationNeed[]): string[] {
  return united(needs.map(({ commands, on }) => [on.pattern, ...allowed(commands)]));
}

type Endpoint = LinkConfig['target'];

function userOf(endpoint: Endpoint): string | undefined {
  if ('sentinel' in endpoint) return endpoint.sentinel.username;
  return parseRedisUrl('cluster' in endpoint ? endpoint.cluster[0]! : endpoint.url).username;
}

function commandsOf(side: AclUser['side'], isOfNewer: boolean): readonly string[] {
  return NEEDS[side].filter(({ isOfFields = false }) => isOfFields === isOfNewer).flatMap(({ commands }) => commands);
}

/** A stream, and in a Cluster the sixteen whose names begin with its. */
function patternOf(stream: string): string {
  return `~${stream.replace(/[\\*?[\]]/g, '\\$&')}*`;
}

function connecting(endpoint: Endpoint): readonly string[] {
  if ('cluster' in endpoint) return CLUSTER;
  const db = 'sentinel' in endpoint ? endpoint.sentinel.db : parseRedisUrl(endpoint.url).db;
  return db ? DATABASE : [];
}

function allowed(commands: readonly string[]): string[] {
  return [...new Set(commands)].sort().map((command) => `+${command}`);
}
