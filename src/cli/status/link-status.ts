/** What `keymend status` says of the links: asked of the servers now, of nobody else. */
import { intakeOf } from '../../bridge/intakes.js';
import type { Config, LinkConfig } from '../../config.js';
import { type LinkSides, refusedDeletes } from '../../engine/index.js';
import { cacheModeOf, connectSource } from '../../mysql/connect-source.js';
import { outboxLengths } from '../../outbox/lengths.js';
import { outboxSources } from '../../outbox/sources.js';
import { counted } from '../../plural.js';
import {
  checkDistinct,
  connectRedis,
  explain,
  type Health,
  RedisFailure,
  type ServerHealth,
} from '../../redis/index.js';
import { chooseLink } from '../context.js';
import { describeFailingKeys, type FailingKeysReport, failingKeysReport } from './failing-keys.js';
import { describeGap, type GapReport, type GapReports } from './gaps.js';

interface SideReport {
  /** Name and address, never a password. */
  readonly place: string;
  /** null: unknown, see `problem`. */
  readonly role: 'master' | 'replica' | null;
  /**
   * Keys in the selected database, of a Cluster on all masters that answer; null: unknown, or its
   * rows are not counted.
   */
  readonly keys: number | null;
  /** Why it can't be asked, or can't be used on this side; null: it can. */
  readonly problem: string | null;
  /** Of a Cluster: each of its masters. */
  readonly masters?: readonly SideReport[];
}

export interface LinkReport {
  readonly link: string;
  readonly source: SideReport;
  readonly target: SideReport;
  /** Whether the delete guard would let a delete pass now. */
  readonly deletes: 'allowed' | 'refused';
  /** Why they are refused and what to do; null: they are not. */
  readonly reason: string | null;
  readonly outbox: OutboxReport;
  readonly failingKeys: FailingKeysReport;
  /** What is known to be lost; null: nothing is. */
  readonly gap: GapReport | null;
}

/**
 * What waits on the source, where links share it that of all of them. null: unknown, see `problem`.
 */
interface OutboxReport {
  /** Records that are not taken yet; in transactional mode writes under way, too. */
  readonly entries: number | null;
  /** What keymend could not use and somebody has to look at; null as well where Kafka has them. */
  readonly deadLetters: number | null;
  /** Why it can't be asked, or what holds it up; null: nothing. */
  readonly problem: string | null;
}

/** Waited for twice: for a connection, and for the answer. A server that is there is faster. */
const TIMEOUT_MS = 1_500;

/**
 * @param name only this link; undefined: all
 * @throws VerbError when there is no such link. A side that doesn't answer is in its report
 */
export async function linkReports(
  config: Config,
  name: string | undefined,
  gaps: Promise<GapReports>,
): Promise<LinkReport[]> {
  const links = name === undefined ? config.links : [chooseLink(config, name)];
  const [reports, known] = await Promise.all([Promise.all(links.map((link) => linkReport(config, link))), gaps]);
  return reports.map((report) => ({ ...report, gap: known.get(report.link) ?? null }));
}

async function linkReport(config: Config, link: LinkConfig): Promise<Omit<LinkReport, 'gap'>> {
  const sides: LinkSides = {
    source: connectSource(link, { name: 'source', commandTimeoutMs: TIMEOUT_MS }),
    target: connectRedis(link.target, { name: 'target', commandTimeoutMs: TIMEOUT_MS }),
  };
  const isCache = cacheModeOf(link) !== undefined;
  try {
    const [source, target, outbox, failingKeys] = await Promise.all([
      sides.source.health(),
      sides.target.health(undefined, { withoutOwn: true }),
      outboxReport(config, link),
      failingKeysReport(link, TIMEOUT_MS),
    ]);
    const answer = !(source instanceof RedisFailure || target instanceof RedisFailure);
    const doubt = answer ? await checkDistinct(sides) : null;
    // Readers load again what is deleted of a cache.
    const refusals = isCache ? [] : refusedDeletes(sides, { source, target }, link.deleteGuard);
    return {
      link: link.name,
      source: { ...sideReport(sides.source.place, source), ...(isCache && { keys: null }) },
      target: withProblem(sideReport(sides.target.place, target), doubt?.code === 'SAME' ? doubt.message : null),
      deletes: refusals.length === 0 ? 'allowed' : 'refused',
      reason: refusals.length === 0 ? null : refusals.map(({ message }) => message).join('; '),
      outbox,
      failingKeys,
    };
  } finally {
    await Promise.all([sides.source.close(), sides.target.close()]);
  }
}

async function outboxReport(config: Config, link: LinkConfig): Promise<OutboxReport> {
  const [source] = outboxSources([link]);
  if (source === undefined) return { entries: 0, deadLetters: null, problem: null };
  try {
    // Called as the side is.
    const { full, ...lengths } = await outboxLengths(
      { ...source, name: 'source' },
      { commandTimeoutMs: TIMEOUT_MS },
      config.stream,
      intakeOf(config).deadLetters,
    );
    const problem = `${full.join('; ')}. What needs it waits, and the outbox behind it`;
    return { ...lengths, problem: full.length === 0 ? null : problem };
  } catch (error) {
    return { entries: null, deadLetters: null, problem: (error as Error).message };
  }
}

function sideReport(place: string, health: Health | RedisFailure): SideReport {
  if (health instanceof RedisFailure || health.servers.length < 2) return serverReport(place, health);
  const masters = health.servers.map((server) => serverReport(server.place, server.answer));
  const problems = masters.flatMap(({ problem }) => problem ?? []);
  return { ...serverReport(place, health), problem: problems.length === 0 ? null : problems.join('; '), masters };
}

function withProblem(report: SideReport, problem: string | null): SideReport {
  return { ...report, problem: report.problem ?? problem };
}

function serverReport(place: string, answer: ServerHealth['answer']): SideReport {
  if (answer instanceof RedisFailure) {
    return { place, role: null, keys: null, problem: `${answer.place ?? place} ${explain(answer)}` };
  }
  const { isMaster, keys } = answer;
  if (isMaster) return { place, role: 'master', keys, problem: null };
  const replica = new RedisFailure('NOTMASTER', 'not a master');
  return { place, role: 'replica', keys, problem: `${place} ${explain(replica)}` };
}

export function describeLinks(reports: readonly LinkReport[]): string[] {
  return reports.flatMap(({ link, source, target, deletes, reason, outbox, failingKeys, gap }) => [
    `link ${link}`,
    ...[
      ...[source, target].flatMap(describeSide),
      reason === null ? `deletes are ${deletes}` : `deletes are ${deletes}: ${reason}`,
      // A source that does not answer has said so already.
      ...(outbox.entries === null && outbox.problem === source.problem ? [] : describeOutbox(outbox)),
      ...(failingKeys.problem === source.problem && source.problem !== null ? [] : describeFailingKeys(failingKeys)),
      ...describeGap(gap),
    ].map((line) => `  ${line}`),
  ]);
}

function describeOutbox({ entries, deadLetters, problem }: OutboxReport): string[] {
  if (entries === null) return [`the outbox cannot be asked: ${problem}`];
  const letters = deadLetters === null ? '' : `, its dead-letter stream ${deadLetters}`;
  return [`the outbox has ${counted(entries, 'entry', 'entries')}${letters}`, ...(problem === null ? [] : [problem])];
}

function describeSide({ place, keys, problem, masters }: SideReport): string[] {
  if (masters === undefined) {
    const what = keys === null ? 'the primary' : `a master with ${counted(keys, 'key')}`;
    return [problem ?? `${place} is ${what}`];
  }
  const lines = masters.flatMap(describeSide).map((line) => `  ${line}`);
  return [`${place} has ${counted(masters.length, 'master')} with ${counted(keys!, 'key')}`, ...lines];
}
