/** Temporal's test server, in which timers pass at once. For tests of workflows only. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findOnPath } from './command.js';
import { fetchJars, findJava } from './java.js';
import { cached, firstWay, noWay, type Provision } from './provision.js';
import { downloadTemporal } from './temporal-download.js';

const PROGRAM = 'temporal-test-server';
const VERSION = '1.38.0';
const OLDEST_JAVA = 11;
const ARTIFACTS = [`io.temporal:${PROGRAM}:${VERSION}`, 'org.slf4j:slf4j-nop:1.7.36'] as const;

const REMEDIES =
  'Install Java and Maven, from which it is fetched, or put `temporal-test-server` ' +
  '(https://github.com/temporalio/sdk-java/releases) on the PATH.';

/** Starts fast rather than running fast: it lives for one test. The last line turns into Java, so that it gets its signals. */
const WRAPPER = `#!/bin/sh
folder=$(dirname "$0")
exec "\${JAVA_HOME:+$JAVA_HOME/bin/}java" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \\
  -cp "$folder/lib/*" io.temporal.testserver.TestServer "$@"
`;

/**
 * @returns the path of a program that `TestWorkflowEnvironment.createTimeSkipping` takes as `existing-path`
 * @throws StackError
 */
export function provideTimeSkippingServer(provision: Provision): Promise<string> {
  const entry = `time-skipping/${VERSION}`;
  const inCache = (fill: (folder: string) => Promise<void>) => async () =>
    join(await cached(provision, entry, fill), PROGRAM);
  return firstWay(provision, 'The time-skipping test server', REMEDIES, [
    { name: 'PATH', attempt: async () => findOnPath(PROGRAM, provision.environment) ?? noWay(`no ${PROGRAM} there`) },
    {
      name: 'download',
      attempt: inCache((folder) => downloadTemporal(provision, `${PROGRAM}/v${VERSION}`, folder, PROGRAM)),
    },
    { name: 'Maven', attempt: inCache((folder) => fromMaven(provision, folder)) },
  ]);
}

async function fromMaven(provision: Provision, folder: string): Promise<void> {
  await findJava(provision, OLDEST_JAVA);
  await fetchJars(provision, 'Time-skipping test server', ARTIFACTS, join(folder, 'lib'));
  writeFileSync(join(folder, PROGRAM), WRAPPER);
  chmodSync(join(folder, PROGRAM), 0o755);
}
