/** MariaDB, for links whose source is a database. */
import { delimiter } from 'node:path';
import { findOnPath } from './command.js';
import { installPackage } from './package-manager.js';
import { firstWay, noWay, type Provision } from './provision.js';

const REMEDIES = 'Install MariaDB 10.6 or newer so that `mariadbd` and `mariadb-install-db` are on the PATH.';

export interface MariadbPrograms {
  readonly server: string;
  /** Makes the folder of a new server. */
  readonly install: string;
}

/**
 * @returns paths of the programs
 * @throws StackError
 */
export function provideMariadb(provision: Provision): Promise<MariadbPrograms> {
  return firstWay(provision, 'MariaDB', REMEDIES, [
    { name: 'PATH', looks: true, attempt: async () => installed(provision) },
    {
      name: 'package manager',
      attempt: async () => {
        await installPackage(provision, 'mariadb');
        return installed(provision);
      },
    },
  ]);
}

/** Servers are in folders that are not on every PATH. */
function installed({ environment }: Provision): MariadbPrograms {
  const PATH = [environment.PATH ?? '', '/usr/sbin', '/usr/libexec'].join(delimiter);
  const find = (name: string) => findOnPath(name, { ...environment, PATH }) ?? noWay(`no ${name} there`);
  // The one that makes the folder of a server calls it.
  find('my_print_defaults');
  return { server: find('mariadbd'), install: find('mariadb-install-db') };
}
