/** The users of Redis that a link needs, with no more rights than that. */
import type { LinkConfig, StreamConfig } from '../config.js';
import { isOwnKey } from '../own-keys.js';
import { CLUSTER, DATABASE, NEEDS } from '../redis/needed-commands.js';
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

export function aclUsers(link: LinkConfig, { key, deadLetterKey }: StreamConfig): AclUser[] {
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
  const keymendOnTarget = user('target', 'keymend', ['~*', ...ofKeymend('target', target)]);
  if ('mysql' in source) return [keymendOnTarget, user('target', 'application', [...OF_A_CACHE, ...allowed(CACHES)])];
  const outbox = [key, deadLetterKey].filter((stream) => !isOwnKey(Buffer.from(stream))).map(patternOf);
  return [
    // It writes nothing there but its own keys, and can't.
    user('source', 'keymend', ['%R~*', '~keymend:*', ...outbox, ...ofKeymend('source', source)]),
    keymendOnTarget,
    user('source', 'application', [patternOf(key), ...allowed(APPLICATION_ON_SOURCE)]),
    user('target', 'application', ['~keymend:writer:*', ...allowed(APPLICATION_ON_TARGET)]),
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
