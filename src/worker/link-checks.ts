/**
 * Whether the links of a worker can be used. A server that is away when the worker starts is an
 * outage like any other: it is waited for, and what could not be checked is checked as soon as it
 * answers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { LinkRuntime } from '../../activities/work.js';
import { jittered, pauseAfter } from '../patience/pause.js';
import { checkDistinct, isAway, type RedisFailure } from '../redis/index.js';

/** Between two looks at a link whose servers are away. */
const PAUSES = { firstMs: 250, longestMs: 5_000 };

interface LinkChecks {
  /** Never resolves; rejects when no link is left that could be used. */
  readonly noneUsable: Promise<never>;
  /** Nobody is asked any more. */
  close(): void;
}

interface Looked {
  /** What no waiting mends; null: nothing is known of that kind. */
  readonly unusable: Error | null;
  /** Servers that do not answer now. */
  readonly away: readonly RedisFailure[];
  /** What is wrong with a link that is of some use. */
  readonly problems: readonly RedisFailure[];
}

/**
 * Looks at each link. What is wrong is logged, of a link that can't be used as of others.
 * @throws Error with one line when no link can ever be used as it is configured
 */
export async function checkLinks(links: ReadonlyMap<string, LinkRuntime>, logger: Logger): Promise<LinkChecks> {
  const end = new AbortController();
  const unusable = new Map<string, Error>();
  const found = await Promise.all(
    Array.from(links, async ([link, { sides }]) => ({ link, sides, looked: await look(sides) })),
  );
  for (const { link, looked } of found) if (looked.unusable !== null) unusable.set(link, looked.unusable);
  if (unusable.size === links.size) throw [...unusable.values()][0]!;

  let endAll: (reason: Error) => void;
  const noneUsable = new Promise<never>((_, reject) => {
    endAll = reject;
  });
  noneUsable.catch(() => {}); // Nobody listens before the worker runs.
  for (const { link, sides, looked } of found) {
    tell(looked, logger);
    for (const { message } of looked.away)
      logger.warn(
        { link },
        `${message}. keymend starts all the same, and repairs the keys of this link once it answers`,
      );
    if (looked.away.length > 0) void untilAnswered(link, sides);
  }
  return { noneUsable, close: () => end.abort() };

  /**
   * Repairs may begin a moment before it has looked: with one Redis on both sides each key is equal
   * to itself, so nothing is written.
   */
  async function untilAnswered(link: string, sides: LinkRuntime['sides']): Promise<void> {
    let looked: Looked;
    let looks = 0;
    do {
      looks += 1;
      await sleep(jittered(pauseAfter(looks, PAUSES)), undefined, { signal: end.signal, ref: false }).catch(() => {});
      looked = await look(sides);
      // What a connection says that was closed here is no answer.
      if (end.signal.aborted) return;
    } while (looked.unusable === null && looked.away.length > 0);
    tell(looked, logger);
    if (looked.unusable === null) {
      logger.info({ link }, `link ${link}: source and target answer`);
      return;
    }
    unusable.set(link, looked.unusable);
    if (unusable.size === links.size) endAll(looked.unusable);
  }
}

function tell({ unusable, problems }: Looked, logger: Logger): void {
  for (const { message } of unusable === null ? problems : [unusable]) logger.error(message);
}

async function look(sides: LinkRuntime['sides']): Promise<Looked> {
  const checks = await Promise.allSettled([sides.source.check(), sides.target.check()]);
  const refused = checks.flatMap((check) => (check.status === 'rejected' ? [check.reason as RedisFailure] : []));
  const unusable = refused.find((failure) => !isAway(failure)) ?? null;
  // A Cluster without one of its masters is of use for the others' keys.
  const silent = checks.flatMap((check) =>
    check.status === 'rejected' ? [check.reason as RedisFailure] : check.value,
  );
  const away = silent.filter(isAway);
  if (silent.length > 0) return { unusable, away, problems: silent.filter((failure) => !isAway(failure)) };
  const doubt = await checkDistinct(sides);
  if (doubt === null) return { unusable: null, away, problems: [] };
  if (doubt.code === 'SAME') return { unusable: doubt, away, problems: [] };
  // Whether they are two is not known then; small keys are repaired nevertheless.
  return isAway(doubt) ? { unusable: null, away: [doubt], problems: [] } : { unusable: null, away, problems: [doubt] };
}
