/** What the user of one side may do, by a dry run, so that nothing is touched. */
import type { LinkConfig } from '../../config.js';
import { connectKeyServers, type OneServer, RedisFailure } from '../../redis/index.js';
import { DISPENSABLE, NEEDS, OF_NEWER } from '../../redis/needed-commands.js';
import { type Finding, fail, found, ok, warn } from './finding.js';
import { ofMasters } from './masters.js';

const TIMEOUT_MS = 3_000;
/** Under our own prefix. In a dry run it does not matter which server has it. */
const KEY = 'keymend:doctor';

/** @returns one line for what it may do, one for each need of which something is missing */
export async function checkRights(link: LinkConfig, side: 'source' | 'target'): Promise<readonly Finding[]> {
  const endpoint = link[side];
  if ('mysql' in endpoint) return [];
  const name = `${side} of link ${link.name}`;
  const servers = connectKeyServers(endpoint, { name, commandTimeoutMs: TIMEOUT_MS });
  try {
    return await found(() => ofMasters(servers, (server) => found(() => rightsOf(server, side))));
  } finally {
    servers.close();
  }
}

/** As `checkRights`, at one server. */
export async function rightsOf(server: OneServer, side: 'source' | 'target'): Promise<Finding[]> {
  const { place } = server;
  const who = await server.send(['ACL', 'WHOAMI']).catch((error: unknown) => error as Error);
  if (who instanceof Error) {
    if (!(who instanceof RedisFailure)) throw who;
    if (who.code !== 'NOPERM' && who.code !== 'ERR') throw who;
    return [untold(`${place}: what its user may do can't be asked`)];
  }
  const user = String(who);
  const findings = await Promise.all(NEEDS[side].map((need) => missing(server, user, need)));
  if (findings.every((finding) => finding === 'untold'))
    return [untold(`${place}: what user ${user} may do can't be tried here`)];
  const said = findings.filter((finding) => finding !== 'untold').flat();
  return said.length > 0 ? said : [ok(`${place}: user ${user} may do what keymend needs`)];
}

function untold(what: string): Finding {
  return ok(`${what} (ACL WHOAMI and ACL DRYRUN, Redis 7); it shows in the repairs`);
}

async function missing(
  server: OneServer,
  user: string,
  { what, commands, isVital }: (typeof NEEDS)['source'][0],
): Promise<Finding[] | 'untold'> {
  const { place } = server;
  const needed = commands.filter((command) => !DISPENSABLE.includes(command));
  const tried = await Promise.all(needed.map((command) => dryRun(server, user, command)));
  if (tried.every((answer) => answer === 'untold')) return 'untold';
  const of = (answer: Tried) => needed.filter((_, index) => tried[index] === answer);
  const list = (names: readonly string[]) => names.map((command) => command.toUpperCase()).join(', ');
  const [refused, unknown] = [of('refused'), of('unknown')];
  const tell = isVital ? fail : warn;
  const findings: Finding[] = [];
  if (refused.length > 0) {
    const remedy = `ACL SETUSER ${user} ${refused.map((command) => `+${command}`).join(' ')}`;
    findings.push(tell(`${place}: user ${user} may not use ${list(refused)}, needed ${what}`, remedy));
  }
  if (unknown.length > 0) {
    const remedy = 'give the commands their names back (rename-command)';
    findings.push(tell(`${place} does not know ${list(unknown)}, needed ${what}`, remedy));
  }
  return findings;
}

type Tried = 'allowed' | 'refused' | 'unknown' | 'untold';

/** Arguments enough for each of them: the keys are where the server looks for keys. */
async function dryRun(server: OneServer, user: string, command: string): Promise<Tried> {
  const isScript = command === 'eval' || command === 'evalsha';
  const words = command.split('|');
  for (let count = 0; count <= 8; count++) {
    const args = isScript ? ['x', '0'] : argumentsOf(command).slice(0, count);
    try {
      const reply = await server.send(['ACL', 'DRYRUN', user, ...words, ...args]);
      return String(reply) === 'OK' ? 'allowed' : 'refused';
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      const cause = `${error.message} ${(error.cause as Error | undefined)?.message ?? ''}`;
      if (/wrong number of arguments/i.test(cause)) continue;
      // Its name is in quotes, and what is quoted goes into no error of ours.
      if (/Command \S+ not found/i.test(cause)) return OF_NEWER.includes(command) ? 'allowed' : 'unknown';
      return 'untold';
    }
  }
  return 'untold';
}

function argumentsOf(command: string): string[] {
  if (command === 'xreadgroup') return ['GROUP', 'g', 'c', 'COUNT', '1', 'STREAMS', KEY, '>'];
  if (command === 'rename') return [KEY, KEY];
  return [KEY, '1', '1', '1', '1', '1', '1', '1'];
}
