/**
 * libfaketime, for tests of servers whose clocks differ: preloaded into a process, it shifts the
 * clock which that process sees.
 */
import { findOnPath, run } from './command.js';
import { installPackage } from './package-manager.js';
import { firstWay, noWay, type Provision } from './provision.js';

const REMEDIES =
  'Install faketime so that `faketime` is on the PATH, on Linux (elsewhere processes take no preloaded library).';

/**
 * @returns the path of the library, for LD_PRELOAD; FAKETIME then says how far off the clock is,
 *   for example `+5s`
 * @throws StackError
 */
export function provideFaketime(provision: Provision): Promise<string> {
  return firstWay(provision, 'faketime', REMEDIES, [
    { name: 'PATH', looks: true, attempt: () => library(provision) },
    {
      name: 'package manager',
      attempt: async () => {
        if (process.platform !== 'linux') noWay('not on Linux');
        await installPackage(provision, 'faketime');
        return library(provision);
      },
    },
  ]);
}

/** The program knows where its library is: it starts others with it. */
async function library(provision: Provision): Promise<string> {
  if (process.platform !== 'linux') noWay('not on Linux');
  const program = findOnPath('faketime', provision.environment) ?? noWay('no faketime there');
  const preloaded = await run(program, ['-f', '+0s', 'printenv', 'LD_PRELOAD'], { ...provision, timeoutMs: 10_000 });
  return preloaded.trim();
}
