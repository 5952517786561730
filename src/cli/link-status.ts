/** What `keymend status` says of the links: asked of the servers now, of nobody else. */

import type { Config, LinkConfig } from '../config.js';
import { judgeDeletes, type LinkSides } from '../engine/index.js';
import { connectRedis, explain, type Health, RedisFailure } from '../redis/index.js';
import { chooseLink } from './context.js';

export interface SideReport {
  /** Name and address, never a password. */
  readonly place: string;
  /** null: unknown, see `problem`. */
  readonly role: 'master' | 'replica' | null;
  /** Keys in the selected database; null: unknown. */
  readonly keys: number | null;
  /** Why it can't be asked, or can't be used on this side; null: it can. */
  readonly problem: string | null;
}

export interface LinkReport {
  readonly link: string;
  readonly source: SideReport;
  readonly target: SideReport;
  /** Whether the delete guard would let a delete pass now. */
  readonly deletes: 'allowed' | 'refused';
  /** Why they are refused and what to do; null: they are not. */
  readonly reason: string | null;
}

const TIMEOUT_MS = 5_000;

/**
 * @param name only this link; undefined: all
 * @throws VerbError when there is no such link. A side that doesn't answer is in its report
 */
export async function linkReports(config: Config, name: string | undefined): Promise<LinkReport[]> {
  const links = name === undefined ? config.links : [chooseLink(config, name)];
  return Promise.all(links.map(linkReport));
}

async function linkReport(link: LinkConfig): Promise<LinkReport> {
  const connect = (side: 'source' | 'target') => connectRedis(link[side], { name: side, commandTimeoutMs: TIMEOUT_MS });
  const sides: LinkSides = { source: connect('source'), target: connect('target') };
  try {
    const [source, target] = await Promise.all([sides.source.health(), sides.target.health()]);
    const refusal = judgeDeletes(sides, { source, target }, link.deleteGuard);
    return {
      link: link.name,
      source: sideReport(sides.source.place, source),
      target: sideReport(sides.target.place, target),
      deletes: refusal === null ? 'allowed' : 'refused',
      reason: refusal?.message ?? null,
    };
  } finally {
    await Promise.all([sides.source.close(), sides.target.close()]);
  }
}

function sideReport(place: string, health: Health | RedisFailure): SideReport {
  if (health instanceof RedisFailure) {
    return { place, role: null, keys: null, problem: `${place} ${explain(health)}` };
  }
  const { isMaster, keys } = health;
  if (isMaster) return { place, role: 'master', keys, problem: null };
  const replica = new RedisFailure('NOTMASTER', 'not a master');
  return { place, role: 'replica', keys, problem: `${place} ${explain(replica)}` };
}

export function describeLinks(reports: readonly LinkReport[]): string {
  return reports
    .map(({ link, source, target, deletes, reason }) =>
      [
        `link ${link}`,
        ...[source, target].map(({ place, keys, problem }) => problem ?? `${place} is a master with ${keys} keys`),
        reason === null ? `deletes are ${deletes}` : `deletes are ${deletes}: ${reason}`,
      ].join('\n  '),
    )
    .join('\n');
}
