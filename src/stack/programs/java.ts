/** Programs that come as jars: the Java that runs them and Maven, which fetches them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withProgress } from '../progress.js';
import { findOnPath, isExecutable, run } from './command.js';
import { noWay, type Provision } from './provision.js';

const FETCH_WITHIN_MS = 15 * 60_000;
const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

/** A jar in Maven's coordinates, with everything it depends on. */
type MavenArtifact = `${string}:${string}:${string}`;

/**
 * @returns the path of a `java` of at least this version: JAVA_HOME's, else the one on PATH
 * @throws Error with a short reason when there is none
 */
export async function findJava(provision: Provision, oldest: number): Promise<string> {
  const home = provision.environment.JAVA_HOME;
  const ofHome = home ? join(home, 'bin', 'java') : undefined;
  const java =
    ofHome !== undefined && isExecutable(ofHome)
      ? ofHome
      : (findOnPath('java', provision.environment) ?? noWay(`no java (${oldest} or newer) on the PATH`));
  const printed = await run(java, ['-version'], { ...provision, timeoutMs: 10_000 });
  const version = Number(/version "(\d+)/.exec(printed)?.[1] ?? 0);
  return version >= oldest ? java : noWay(`java ${oldest} or newer is needed, ${java} is ${version || 'unknown'}`);
}

/**
 * Lets Maven copy the jars of these artifacts, with what they depend on, into `folder`.
 * @param takes what that costs, for a person
 */
export async function fetchJars(
  provision: Provision,
  what: string,
  artifacts: readonly MavenArtifact[],
  folder: string,
  takes: string,
): Promise<void> {
  const maven = findOnPath('mvn', provision.environment) ?? noWay('no mvn on the PATH');
  mkdirSync(folder, { recursive: true });
  const project = join(folder, 'pom.xml');
  writeFileSync(project, projectOf(artifacts));
  const goal = [`${DEPENDENCY_PLUGIN}:copy-dependencies`, '-DincludeScope=runtime', `-DoutputDirectory=${folder}`];
  const fetchThem = () =>
    run(maven, ['-B', '-q', '-f', project, ...goal], { ...provision, folder, timeoutMs: FETCH_WITHIN_MS });
  await withProgress(provision.report, `${what}: fetching with Maven`, fetchThem, takes);
}

function projectOf(artifacts: readonly MavenArtifact[]): string {
  const dependencies = artifacts.map((artifact) => {
    const [group, name, version] = artifact.split(':');
    return `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version></dependency>`;
  });
  return `<project><modelVersion>4.0.0</modelVersion>
<groupId>keymend</groupId><artifactId>jars</artifactId><version>1</version>
<dependencies>${dependencies.join('\n')}</dependencies></project>
`;
}
