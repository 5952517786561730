/**
 * What a failure means and what to do about it, as the second half of a sentence that begins with
 * the Redis' name.
 */
import { tlsTrouble } from '../../tls-trouble.js';
import { OF_FILES, RedisFailure } from './failure.js';

const GIVEN_AWAY =
  'does not have the slot of the key, or is giving it to another node; the next attempt asks who has it then ' +
  '(a Cluster is written { cluster: [urls] } in the link)';

/** They say it themselves; most are of a source that is a database. */
const EXPLAINED: ReadonlySet<string> = new Set([
  'NOMAPPING',
  'MAPPING',
  'SEVERALROWS',
  'ROWTOOLARGE',
  'OLDROW',
  'QUERYFAILED',
  'NOTASKED',
  'LATE',
]);

const EXPLANATIONS: Readonly<Record<string, string>> = {
  READONLY: 'is a read-only replica; point the link at its master',
  NOTMASTER: 'is a replica, not a master; point the link at its master',
  OOM: 'is out of memory (maxmemory without eviction); give it more or free some',
  LOADING: 'is still loading its data; wait until it has ended',
  NOAUTH: 'wants a password; put it into the url of the link, or its passwordFile',
  WRONGPASS: 'refuses the user or the password; correct them in the url of the link, or in its passwordFile',
  MISCONF: 'refuses writes because its last save to disk failed; look at its disk and its log',
  NOREPLICAS: 'refuses writes because too few of its replicas are connected; look at the replicas',
  BUSY: 'is busy with a script; wait, or end that with SCRIPT KILL',
  DEMOTED: 'is a replica by now; the next attempt asks the new master',
  MOVED: GIVEN_AWAY,
  ASK: GIVEN_AWAY,
  TRYAGAIN: GIVEN_AWAY,
  CLUSTERDOWN: 'belongs to a cluster that is down; look at CLUSTER INFO there',
  MASTERDOWN: 'is a replica that has lost its master; point the link at the master',
  DBDENIED:
    'refuses the user, the password or a right; correct them in the url of the link or its passwordFile, and grant SELECT on what its mappings read',
  TIMEOUT: 'did not answer in time; look at its load and at the network in between',
};

const TLS_SETTINGS = { ca: 'tls.caFile', certificate: 'tls.certFile', serverName: 'tls.serverName' };

/** For example `is a read-only replica; point the link at its master`. One line, no user data. */
export function explain(failure: RedisFailure): string {
  if (failure.code === 'CONNECTION') {
    if (failure.errno === OF_FILES) return `cannot be reached: ${failure.message}`;
    const trouble = tlsTrouble(`${failure.errno} ${failure.message}`, TLS_SETTINGS);
    if (trouble !== undefined) return `cannot be reached: ${trouble} (${failure.errno})`;
    return `cannot be reached: ${failure.message}; check that it runs and that the url of the link is right`;
  }
  if (EXPLAINED.has(failure.code)) return failure.message;
  if (failure.code === 'NOPERM') return explainDenied(failure);
  if (/cluster support disabled/i.test(failure.message)) return 'is no Cluster; write { url: … } in the link';
  return EXPLANATIONS[failure.code] ?? `answered: ${failure.message}`;
}

/** Which command on which keys. A refusal of EVALSHA names what ran in the script where it can. */
function explainDenied({ message, refused }: RedisFailure): string {
  const command = /script/.test(message) && /^EVAL/.test(refused.command ?? '') ? undefined : refused.command;
  const keys = refused.onOwnKey ? '~keymend:*' : 'the keys of the link (~*, or their patterns)';
  if (/not allowed from script/i.test(message)) {
    return `does not let scripts run ${command ?? 'a command'}; ask who runs that Redis to allow it`;
  }
  if (/access .*key/i.test(message)) {
    return `does not let this user touch a key with ${command ?? 'a command'}; grant ${keys} in the ACL of that user`;
  }
  const grant = command === undefined ? 'what keymend needs' : `+${command.toLowerCase().replace(' ', '|')}`;
  return `does not let this user run ${command ?? 'a command of a script'}; grant ${grant} on ${keys} in the ACL of that user`;
}

/** The failure with a message that is a whole sentence: which Redis, what is wrong, what to do. */
export function explained(failure: RedisFailure, place: string): RedisFailure {
  return new RedisFailure(failure.code, `${place} ${explain(failure)}`, { cause: failure, errno: failure.errno });
}
