/** The doctor's look at one server of a side: version, memory, and what the user may do. */
import type { LinkConfig } from '../../config.js';
import { connectKeyServers, type KeyServers, RedisFailure } from '../../redis/index.js';
import { DISPENSABLE, READS, WRITES } from '../../redis/needed-commands.js';
import { type Finding, fail, found, ok, warn } from './finding.js';

const TIMEOUT_MS = 3_000;
const NEARLY_FULL = 0.9;
/** Under our own prefix, and in a Cluster one server's: the others are set up alike. */
const KEY = 'keymend:doctor';

export async function checkServer(link: LinkConfig, side: 'source' | 'target'): Promise<Finding[]> {
  const name = `${side} of link ${link.name}`;
  const endpoint = link[side];
  // Its mappings have been tried with it.
  if ('mysql' in endpoint) return [];
  const servers = connectKeyServers(endpoint, { name, commandTimeoutMs: TIMEOUT_MS });
  try {
    const checks = [memory(servers, side), rights(servers, side)].map((check) => found(() => check, warn));
    return (await Promise.all(checks)).flat();
  } finally {
    servers.close();
  }
}

async function memory(servers: KeyServers, side: 'source' | 'target'): Promise<Finding[]> {
  const ask = async (section: string) => fields(String((await servers.send(KEY, ['INFO', section])).reply));
  const { place } = await servers.send(KEY, ['INFO', 'server']);
  const [server, memory] = [await ask('server'), await ask('memory')];
  const version = server.get('valkey_version') ?? server.get('redis_version') ?? 'unknown';
  const policy = memory.get('maxmemory_policy') ?? 'noeviction';
  const limit = Number(memory.get('maxmemory') ?? 0);
  const used = Number(memory.get('used_memory') ?? 0);
  const findings: Finding[] = [ok(`${place}: version ${version}`)];
  if (limit > 0 && policy !== 'noeviction')
    findings.push(
      warn(
        `${place} evicts keys (maxmemory-policy ${policy}): ${side === 'target' ? 'what it evicts differs from the source' : 'what it evicts is deleted on the target, when it is reconciled'}`,
        'set maxmemory-policy to noeviction, unless it is a cache on both sides',
      ),
    );
  else if (limit > 0 && used > NEARLY_FULL * limit)
    findings.push(
      warn(`${place} uses ${Math.round((100 * used) / limit)} % of its maxmemory`, 'free memory or raise the limit'),
    );
  else findings.push(ok(`${place}: memory policy ${policy}${limit === 0 ? ', no limit' : ''}`));
  return findings;
}

function fields(info: string): ReadonlyMap<string, string> {
  const lines = info.split('\r\n').filter((line) => line.includes(':'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

/** By a dry run, so that nothing is touched. */
async function rights(servers: KeyServers, side: 'source' | 'target'): Promise<Finding[]> {
  const { reply, place } = await servers
    .send(KEY, ['ACL', 'WHOAMI'])
    .catch(() => ({ reply: null, place: servers.place }));
  if (reply === null) return [ok(`${place}: what its user may do can't be asked; it shows in the repairs`)];
  const user = String(reply);
  const needed = [...READS, ...(side === 'target' ? WRITES : [])].filter((command) => !DISPENSABLE.includes(command));
  const tried = await Promise.all(needed.map((command) => dryRun(servers, user, command)));
  if (tried.every((answer) => answer === 'untold'))
    return [ok(`${place}: what user ${user} may do can't be tried here (ACL DRYRUN); it shows in the repairs`)];
  const of = (answer: Tried) =>
    needed.filter((_, index) => tried[index] === answer).map((command) => command.toUpperCase());
  const [refused, unknown] = [of('refused'), of('unknown')];
  return [
    ...(refused.length > 0
      ? [
          fail(
            `${place}: user ${user} may not use ${refused.join(', ')}`,
            `ACL SETUSER ${user} ${refused.map((command) => `+${command.toLowerCase()}`).join(' ')}`,
          ),
        ]
      : []),
    ...(unknown.length > 0
      ? [fail(`${place} does not know ${unknown.join(', ')}`, 'give the commands their names back (rename-command)')]
      : []),
    ...(refused.length + unknown.length === 0 ? [ok(`${place}: user ${user} may do what keymend needs`)] : []),
  ];
}

type Tried = 'allowed' | 'refused' | 'unknown' | 'untold';

/** Arguments enough for each of them: the keys are where the server looks for keys. */
async function dryRun(servers: KeyServers, user: string, command: string): Promise<Tried> {
  const isScript = command === 'eval' || command === 'evalsha';
  const words = command.split('|');
  for (let count = 0; count <= 6; count++) {
    const args = isScript ? ['x', '0'] : [KEY, '1', '1', '1', '1', '1'].slice(0, count);
    try {
      const { reply } = await servers.send(KEY, ['ACL', 'DRYRUN', user, ...words, ...args]);
      return String(reply) === 'OK' ? 'allowed' : 'refused';
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      const cause = `${error.message} ${(error.cause as Error | undefined)?.message ?? ''}`;
      if (/wrong number of arguments/i.test(cause)) continue;
      // PEXPIRETIME is of Redis 7: an older server is asked for less.
      if (/Command '.*' not found/i.test(cause)) return command === 'pexpiretime' ? 'allowed' : 'unknown';
      return 'untold';
    }
  }
  return 'untold';
}
