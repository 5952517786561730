/** Programs from the system's package manager, where it asks for no password. */

import { reasonOf } from '../errors.js';
import { withLock } from '../processes/lock.js';
import { withProgress } from '../progress.js';
import { findOnPath, run } from './command.js';
import { cachePath, noWay, type Provision } from './provision.js';

type PackageName = 'redis' | 'chromium' | 'faketime' | 'mariadb' | 'prometheus';

interface PackageManager {
  readonly program: string;
  /** Several with spaces between them. */
  readonly packages: Readonly<Record<PackageName, string>>;
  readonly install: readonly string[];
  /** Gets the lists of packages, for managers that don't by themselves. */
  readonly refresh?: readonly string[];
  /**
   * What to run after installing a package, because installing it starts a service that nobody
   * asked for.
   */
  readonly afterwards?: Readonly<Partial<Record<PackageName, readonly (readonly string[])[]>>>;
  /** Homebrew installs for the user and refuses root. */
  readonly asUser?: true;
}

const NAMES = {
  redis: 'redis',
  chromium: 'chromium',
  faketime: 'libfaketime',
  mariadb: 'mariadb',
  prometheus: 'prometheus',
} as const;

const MANAGERS: readonly PackageManager[] = [
  {
    program: 'apt-get',
    // Of MariaDB the parts that start no service.
    packages: {
      redis: 'redis-server',
      chromium: 'chromium',
      faketime: 'faketime',
      mariadb: 'mariadb-server-core mariadb-client-core',
      prometheus: 'prometheus',
    },
    install: ['install', '-y', '-q', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300'],
    refresh: ['update', '-q', '-o', 'DPkg::Lock::Timeout=300'],
    afterwards: {
      redis: [
        ['service', 'redis-server', 'stop'],
        ['update-rc.d', 'redis-server', 'disable'],
      ],
      prometheus: [
        ['service', 'prometheus', 'stop'],
        ['update-rc.d', 'prometheus', 'disable'],
      ],
    },
  },
  {
    program: 'dnf',
    packages: { ...NAMES, mariadb: 'mariadb-server', prometheus: 'golang-github-prometheus' },
    install: ['install', '-y', '-q'],
  },
  { program: 'apk', packages: NAMES, install: ['add', '--no-cache'] },
  { program: 'brew', packages: NAMES, install: ['install', '-q'], asUser: true },
];

const INSTALL_WITHIN_MS = 10 * 60_000;

/**
 * Installs a package. Rejects with a short reason where there is no package manager, where it wants
 * a password, or where it fails.
 */
export async function installPackage(provision: Provision, name: PackageName): Promise<void> {
  const manager =
    MANAGERS.find(({ program }) => findOnPath(program, provision.environment)) ??
    noWay('none that is known on the PATH');
  const prefix = manager.asUser ? [] : await privilege(provision);
  const execute = (command: readonly string[]) => {
    const [program = '', ...rest] = [...prefix, ...command];
    const environment = { ...provision.environment, DEBIAN_FRONTEND: 'noninteractive' };
    return run(program, rest, { ...provision, environment, timeoutMs: INSTALL_WITHIN_MS });
  };
  const { refresh } = manager;
  const install = () => execute([manager.program, ...manager.install, ...manager.packages[name].split(' ')]);
  // Lists of packages may be missing or name versions that are gone: then they are fetched, and it
  // is tried once more.
  const refreshAndInstall = async (error: unknown) => {
    if (!refresh) throw error;
    await execute([manager.program, ...refresh]);
    return install();
  };
  const wait = {
    folder: cachePath(provision.environment, 'packages'),
    onWait: (pid: number) => provision.report(`${manager.program}: process ${pid} is installing, waiting`),
    signal: provision.signal,
  };
  const what = `${manager.program}: installing ${manager.packages[name]}`;
  const installIt = async () => {
    await install().catch(refreshAndInstall);
    for (const command of manager.afterwards?.[name] ?? []) {
      // Where no service manager runs, there is nothing to stop and the command fails.
      await execute(command).catch((error) => provision.report(`${command[0]}: ${reasonOf(error)}`));
    }
  };
  await withLock(wait, () => withProgress(provision.report, what, installIt, 'usually less than a minute'));
}

/**
 * What to put in front of a command so that it may install: nothing for root, sudo where it asks
 * for no password.
 */
async function privilege(provision: Provision): Promise<readonly string[]> {
  if (process.getuid?.() === 0) return [];
  const sudo = findOnPath('sudo', provision.environment) ?? noWay('it needs root, and there is no sudo');
  await run(sudo, ['-n', 'true'], { ...provision, timeoutMs: 10_000 }).catch(() => noWay('it needs a password'));
  return [sudo, '-n'];
}
