/**
 * What the local services have in common, so that they are started, watched and stopped by the same
 * code.
 */
import type { PortName, Ports } from './processes/ports.js';
import type { Provision } from './programs/provision.js';

export type ServiceName = 'temporal' | 'kafka' | 'redis-source' | 'redis-target' | 'mariadb';

/** A program and how to call it; what `launch` needs besides the folder. */
interface Program {
  readonly program: string;
  readonly arguments: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
}

/** Writes what the program needs into its folder and says how to call it with these ports. */
export type Prepare = (folder: string, ports: Ports) => Promise<Program>;

/** A service that the stack can run. */
export interface Service {
  /** Also the name of its folder in the data directory. */
  readonly name: ServiceName;
  /** How a person calls it. */
  readonly title: string;
  /** The ports it listens on; clients use the first. */
  readonly ports: readonly [PortName, ...PortName[]];
  /**
   * Finds its program or fetches it, which may take minutes.
   * @throws StackError when it can't be had
   */
  provide(provision: Provision): Promise<Prepare>;
  /**
   * Resolves when it answers at these ports and holds what keymend needs of it; rejects with the
   * reason when not yet.
   */
  answers(ports: Ports): Promise<void>;
}

export function portOf(ports: Ports, name: PortName): number {
  const port = ports[name];
  if (port === undefined) throw new Error(`no port was chosen for ${name}`);
  return port;
}
