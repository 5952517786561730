/** Where Kafka's program comes from, and how each kind of installation is called. */
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KAFKA_BROKERS } from '../environment.js';
import { withProgress } from '../progress.js';
import { findOnPath } from './command.js';
import { fetchArchive, fetchText } from './download.js';
import { fetchJars, findJava } from './java.js';
import { cached, firstWay, noWay, type Provision } from './provision.js';

const VERSION = '4.1.0';
const ARCHIVE = `https://archive.apache.org/dist/kafka/${VERSION}/kafka_2.13-${VERSION}.tgz`;
/** What Kafka 4 asks for. */
const OLDEST_JAVA = 17;

const REMEDIES =
  `Install Java ${OLDEST_JAVA} or newer and Kafka (https://kafka.apache.org/downloads) so that \`java\`, \`kafka-server-start.sh\` and ` +
  `\`kafka-storage.sh\` are on the PATH, or set ${KAFKA_BROKERS} to the host:port of a running Kafka.`;

interface Call {
  readonly program: string;
  readonly arguments: readonly string[];
}

export interface KafkaInstallation {
  /** Runs the server described by a properties file, with this maximum of heap. */
  server(properties: string, heap: string): Call;
  storageTool(args: readonly string[]): Call;
}

/** @throws StackError when neither it nor a way to fetch it is here */
export function provideKafka(provision: Provision): Promise<KafkaInstallation> {
  const entry = `kafka/${VERSION}`;
  const withJars = (fill: (folder: string) => Promise<void>) => async () => {
    const java = await findJava(provision, OLDEST_JAVA);
    return fromJars(java, join(await cached(provision, entry, fill), 'lib'));
  };
  return firstWay(provision, 'Kafka', REMEDIES, [
    { name: 'PATH', looks: true, attempt: async () => fromPath(provision) },
    { name: 'Maven', attempt: withJars((folder) => fromMaven(provision, folder)) },
    { name: 'download', attempt: withJars((folder) => fromArchive(provision, folder)) },
  ]);
}

/** Kafka's own scripts; they turn into the Java process, so it keeps their pid. */
function fromPath({ environment }: Provision): KafkaInstallation {
  const find = (name: string) => findOnPath(`${name}.sh`, environment) ?? findOnPath(name, environment);
  const start = find('kafka-server-start') ?? noWay('no kafka-server-start.sh there');
  const storage = find('kafka-storage') ?? noWay('no kafka-storage.sh there');
  return {
    server: (properties) => ({ program: start, arguments: [properties] }),
    storageTool: (args) => ({ program: storage, arguments: args }),
  };
}

function fromJars(java: string, folder: string): KafkaInstallation {
  const call = (options: readonly string[], main: string, args: readonly string[]): Call => ({
    program: java,
    arguments: [...options, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-cp', join(folder, '*'), main, ...args],
  });
  return {
    server: (properties, heap) => call([`-Xmx${heap}`], 'kafka.Kafka', [properties]),
    storageTool: (args) => call([], 'kafka.tools.StorageTool', args),
  };
}

function fromMaven(provision: Provision, folder: string): Promise<void> {
  const artifacts = [`org.apache.kafka:kafka_2.13:${VERSION}`, 'org.slf4j:slf4j-simple:1.7.36'] as const;
  return fetchJars(provision, 'Kafka', artifacts, join(folder, 'lib'), '43 MB, about half a minute');
}

async function fromArchive(provision: Provision, folder: string): Promise<void> {
  const published = await fetchText(provision, `${ARCHIVE}.sha512`);
  const fetchIt = async () => {
    const archive = await fetchArchive(provision, ARCHIVE, folder);
    // The file names the archive, a colon, then the digest in groups of upper-case hex digits over
    // several lines.
    const expected = published
      .slice(published.indexOf(':') + 1)
      .replace(/\s/g, '')
      .toLowerCase();
    const actual = createHash('sha512').update(readFileSync(archive)).digest('hex');
    if (actual !== expected) noWay(`the archive's SHA-512 is not the published one`);
    renameSync(join(folder, 'content', `kafka_2.13-${VERSION}`, 'libs'), join(folder, 'lib'));
    rmSync(archive);
    rmSync(join(folder, 'content'), { recursive: true });
  };
  const takes = 'more than 100 MB, a minute or more';
  await withProgress(provision.report, `Kafka: downloading ${ARCHIVE}`, fetchIt, takes);
}
