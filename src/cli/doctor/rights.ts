/** What the user of one side may do, by a dry run, so that nothing is touched. */
import type { LinkConfig } from '../../config.js';
import { type Command, connectKeyServers, type OneServer, RedisFailure } from '../../redis/index.js';
import { DISPENSABLE, NEEDS, type Need, OF_NEWER } from '../../redis/needed-commands.js';
import { type Finding, fail, found, ok, warn } from './finding.js';
import { ofMasters } from './masters.js';

const TIMEOUT_MS = 3_000;
/** Under our own prefix. In a dry run it does not matter which server has it. */
const OURS = { name: 'keymend:doctor', pattern: '~keymend:*' };

/** Whose rights are asked for, and which. */
interface Asked {
  /** Absent: the user of the connection. */
  readonly user?: string;
  readonly needs: readonly Need[];
  /** As the end of a sentence. */
  readonly whose: string;
}

function ofKeymend(side: 'source' | 'target'): Asked {
  const needs = NEEDS[side].map((need) => {
    return { ...need, commands: need.commands.filter((command) => !DISPENSABLE.includes(command)) };
  });
  return { needs, whose: 'keymend needs' };
}

/** @returns one line for what it may do, one for each need of which something is missing */
export async function checkRights(
  link: LinkConfig,
  side: 'source' | 'target',
  asked = ofKeymend(side),
): Promise<readonly Finding[]> {
  const endpoint = link[side];
  if ('mysql' in endpoint) return [];
  const name = `${side} of link ${link.name}`;
  const servers = connectKeyServers(endpoint, { name, commandTimeoutMs: TIMEOUT_MS });
  try {
    return await found(() => ofMasters(servers, (server) => found(() => rightsAt(server, asked))));
  } finally {
    servers.close();
  }
}

/** As `checkRights`, of keymend at one server. */
export function rightsOf(server: OneServer, side: 'source' | 'target'): Promise<Finding[]> {
  return rightsAt(server, ofKeymend(side));
}

async function rightsAt(server: OneServer, { user: named, needs, whose }: Asked): Promise<Finding[]> {
  const { place } = server;
  const question: Command = named === undefined ? ['ACL', 'WHOAMI'] : ['ACL', 'DRYRUN', named, 'ping'];
  const answer = await server.send(question).catch((error: unknown) => error as Error);
  if (answer instanceof Error) {
    if (!(answer instanceof RedisFailure)) throw answer;
    if (/User \S+ not found/.test(answer.message))
      return [fail(`${place}: there is no user ${named}`, 'name one of those that ACL USERS lists there')];
    if (answer.code !== 'NOPERM' && answer.code !== 'ERR') throw answer;
    return [untold(`${place}: what ${named === undefined ? 'its user' : `user ${named}`} may do can't be asked`)];
  }
  const user = named ?? String(answer);
  const findings = await Promise.all(needs.map((need) => missing(server, user, need)));
  if (findings.every((finding) => finding === 'untold'))
    return [untold(`${place}: what user ${user} may do can't be tried here`)];
  const said = findings.filter((finding) => finding !== 'untold').flat();
  return said.length > 0 ? said : [ok(`${place}: user ${user} may do what ${whose}`)];
}

function untold(what: string): Finding {
  return ok(`${what} (ACL WHOAMI and ACL DRYRUN, Redis 7); it shows in the repairs`);
}

async function missing(
  server: OneServer,
  user: string,
  { what, commands, isVital, on = OURS }: Need,
): Promise<Finding[] | 'untold'> {
  const { place } = server;
  const tried = await Promise.all(commands.map((command) => dryRun(server, user, command, on.name)));
  if (tried.every((answer) => answer === 'untold')) return 'untold';
  const of = (answer: Tried) => commands.filter((_, index) => tried[index] === answer);
  const list = (names: readonly string[]) => names.map((command) => command.toUpperCase()).join(', ');
  const [refused, elsewhere, unknown] = [of('refused'), of('elsewhere'), of('unknown')];
  const tell = isVital ? fail : warn;
  const findings: Finding[] = [];
  if (refused.length > 0) {
    const remedy = `ACL SETUSER ${user} ${refused.map((command) => `+${command}`).join(' ')}`;
    findings.push(tell(`${place}: user ${user} may not use ${list(refused)}, needed ${what}`, remedy));
  }
  if (elsewhere.length > 0) {
    const line = `${place}: user ${user} may not touch ${on.pattern.slice(1)} with ${list(elsewhere)}, needed ${what}`;
    findings.push(tell(line, `ACL SETUSER ${user} ${on.pattern}`));
  }
  if (unknown.length > 0) {
    const remedy = 'give the commands their names back (rename-command)';
    findings.push(tell(`${place} does not know ${list(unknown)}, needed ${what}`, remedy));
  }
  return findings;
}

/** `elsewhere`: allowed, and not there. */
type Tried = 'allowed' | 'refused' | 'elsewhere' | 'unknown' | 'untold';

/** Arguments enough for each of them: the keys are where the server looks for keys. */
async function dryRun(server: OneServer, user: string, command: string, key: string): Promise<Tried> {
  const isScript = command === 'eval' || command === 'evalsha';
  const words = command.split('|');
  for (let count = 0; count <= 8; count++) {
    const args = isScript ? ['x', '0'] : argumentsOf(command, key).slice(0, count);
    try {
      const reply = String(await server.send(['ACL', 'DRYRUN', user, ...words, ...args]));
      if (reply === 'OK') return 'allowed';
      return /permissions to access/.test(reply) ? 'elsewhere' : 'refused';
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

function argumentsOf(command: string, key: string): string[] {
  if (command === 'xreadgroup') return ['GROUP', 'g', 'c', 'COUNT', '1', 'STREAMS', key, '>'];
  if (command === 'rename') return [key, key];
  return [key, '1', '1', '1', '1', '1', '1', '1'];
}
