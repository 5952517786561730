/** `keymend acl print` and `keymend acl check` */
import type { Config, LinkConfig } from '../../config.js';
import { counted } from '../../plural.js';
import { type AclUser, aclUsersOf, needsOfApplication, OF_A_CACHE } from '../acl-users.js';
import { readConfig } from '../configured.js';
import { chooseLink, type GlobalOptions, print, VerbError } from '../context.js';
import { describeFinding } from '../doctor/finding.js';
import { checkRights } from '../doctor/rights.js';

export async function aclPrint(name: string | undefined, global: GlobalOptions): Promise<void> {
  const { config } = readConfig(global);
  const names = new Set(linksOf(config, name).map((link) => link.name));
  // Of all links, as another one may have the same user.
  const users = aclUsersOf(config.links, config.stream).filter(({ link }) => names.has(link));
  print(global, { users }, () => users.flatMap(describe));
}

function describe({ link, side, role, user, rules, rulesOfNewer }: AclUser): string[] {
  if (role === 'application')
    return [
      `# an application with a ${rules.includes(OF_A_CACHE[0]!) ? 'cache of keymend/cache' : 'DualWriter'}, on the ${side} of link ${link}: beside what it may do there already`,
      `ACL SETUSER ${user} ${rules.join(' ')}`,
    ];
  if (user === 'default')
    return [
      `# WARNING: keymend, on the ${side} of link ${link}, is the user default, which others are as well: no command is`,
      '# printed, for it would take their rights away. Write a user of its own into the configuration, and call this again',
    ];
  const older = rules.includes('%R~*')
    ? ', with ~* in place of %R~* and without +pexpiretime'
    : ', without +pexpiretime';
  return [
    `# keymend, on the ${side} of link ${link}; on Redis 6.2${older}`,
    `ACL SETUSER ${user} reset on >PASSWORD ${rules.join(' ')}`,
    '# and on Redis 7.4, Valkey 9 and newer',
    `ACL SETUSER ${user} ${rulesOfNewer.join(' ')}`,
  ];
}

interface CheckOptions {
  readonly link?: string;
  readonly side?: 'source' | 'target';
  /** The name of its user, in place of keymend's own. No password: keymend asks for it. */
  readonly application?: string;
}

/** @throws VerbError where a right without which no key can be repaired is missing */
export async function aclCheck({ link: name, side: only, application }: CheckOptions, global: GlobalOptions) {
  const { config } = readConfig(global);
  const sides = linksOf(config, name).flatMap((link) =>
    (['source', 'target'] as const).filter((side) => side === (only ?? side)).map((side) => ({ link, side })),
  );
  const askable = sides.filter(({ link, side }) => !('mysql' in link[side]));
  if (askable.length === 0)
    throw new VerbError('the source is a database, which has no ACL of Redis; ask for --side target');
  const ask = ({ link, side }: (typeof sides)[0]) => {
    if (application === undefined) return checkRights(link, side);
    return checkRights(link, side, { user: application, ...needsOfApplication(link, config.stream, side) });
  };
  const checks = (await Promise.all(askable.map(ask))).flat();
  const failed = checks.filter(({ level }) => level === 'fail').length;
  print(global, { ok: failed === 0, checks }, () => checks.flatMap(describeFinding));
  if (failed > 0) throw new VerbError(`${failed} of ${counted(checks.length, 'check')} failed`);
}

function linksOf(config: Config, name: string | undefined): readonly LinkConfig[] {
  return name === undefined ? config.links : [chooseLink(config, name)];
}
