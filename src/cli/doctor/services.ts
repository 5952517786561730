/** The doctor's look at the processes of keymend itself, and at what is known to be lost. */
import type { Client } from '@temporalio/client';
import { pino } from 'pino';
import { intakeOf } from '../../bridge/intakes.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { packageVersion } from '../package-version.js';
import { gapReports } from '../status/gaps.js';
import { bridgesReport, describeBridges, describeWorkers, workersReport } from '../status/service-status.js';
import { type Finding, fail, found, ok, warn } from './finding.js';

/** The log of failed writes: the very checks that bridge and worker make when they start. */
export async function checkIntake(config: Config): Promise<readonly Finding[]> {
  const intake = intakeOf(config);
  if (intake.service === null) return [ok('failed writes are taken from the outboxes of the sources')];
  const warnings: string[] = [];
  const logger = pino(
    { level: 'warn' },
    { write: (line: string) => warnings.push((JSON.parse(line) as { msg: string }).msg) },
  );
  return found(async () => {
    await intake.check(logger);
    return [
      ok(`${intake.service} has its topics, and the group is ours alone`),
      ...warnings.map((line) => split(line, warn)),
    ];
  });
}

export async function checkServices(client: Client | Error, config: Config): Promise<Finding[]> {
  const [workers, bridges, gaps] = await Promise.all([
    workersReport(client, config),
    bridgesReport(config),
    gapReports(client, config),
  ]);
  const lost = [...gaps].flatMap(([link, gap]) => (gap === null ? [] : [{ link, ...gap }]));
  return [
    judged(workers.count, describeWorkers(workers), 'start one: `keymend worker` or `keymend start`'),
    judged(bridges.count, describeBridges(bridges), 'start one: `keymend bridge` or `keymend start`'),
    ...(await found(() => ofPartitions(config, bridges.count ?? 0), warn)),
    ...ofVersions({ workers: workers.versions, bridges: bridges.versions }),
    ...lost.map(({ link, problem }) =>
      problem === null
        ? warn(`link ${link}: failed writes are known to be lost`, '`keymend sweep --repair`, then `keymend sweep`')
        : warn(`link ${link}: whether failed writes are lost is not known: ${problem}`),
    ),
    ...(lost.length === 0 ? [ok('no failed writes are known to be lost')] : []),
  ];
}

function judged(count: number | null, line: string, remedy: string): Finding {
  if (count === null) return warn(line);
  return count === 0 ? fail(line, remedy) : ok(line);
}

/** One more than there are partitions would have nothing to read, without an error anywhere. */
async function ofPartitions(config: Config, bridges: number): Promise<Finding[]> {
  const { partitions, reads } = intakeOf(config);
  const count = await partitions(pino({ level: 'silent' }));
  if (count === null) return [];
  const line = `the topic ${reads.topic} has ${counted(count, 'partition')}`;
  if (bridges <= count) return [ok(`${line}: so many bridges can read it at once`)];
  const idle = `${line}, and ${counted(bridges, 'bridge')} are there: ${counted(bridges - count, 'of them reads', 'of them read')} nothing`;
  return [warn(idle, 'keep those as a reserve, or give the topic more partitions (kafka-topics.sh --alter)')];
}

/** Old workers can't go on with what a new bridge begins. */
function ofVersions(processes: Readonly<Record<string, readonly string[]>>): Finding[] {
  const known = Object.entries(processes).filter(([, versions]) => versions.length > 0);
  if (known.length === 0) return [];
  const ours = packageVersion();
  const parts = known.map(
    ([who, versions]) => `${who} are of ${versions.length === 1 ? 'version' : 'versions'} ${versions.join(' and ')}`,
  );
  const line = [...parts, `this command line of ${ours}`].join(', ');
  return known.every(([, versions]) => versions.every((version) => version === ours))
    ? [ok(line)]
    : [warn(line, 'let all of them be of one version soon: workers first, then bridges')];
}

/** What to do stands behind the semicolon. */
function split(line: string, as: (message: string, remedy: string | null) => Finding): Finding {
  const at = line.indexOf('; ');
  return at < 0 ? as(line, null) : as(line.slice(0, at), line.slice(at + 2));
}
