/** Whether a server is of a version that keymend was tried with. */
import { type Finding, fail, ok, warn } from './finding.js';

/** As README.md has them, from the oldest to the newest. */
export const TRIED = { Redis: ['6.2', '7.0', '7.4', '8.2'], Valkey: ['9.1'] } as const;
const OLDEST = TRIED.Redis[0];

/** @param about the section `server` of its INFO */
export function ofVersion(place: string, about: ReadonlyMap<string, string>): Finding {
  const ofValkey = about.get('valkey_version');
  const make = ofValkey === undefined ? 'Redis' : 'Valkey';
  const version = ofValkey ?? about.get('redis_version') ?? 'unknown';
  const line = `${place}: version ${version}${ofValkey === undefined ? '' : ' of Valkey'}`;
  const rank = rankOf(version);
  const [oldest, newest] = [TRIED[make][0], TRIED[make].at(-1)!].map(rankOf) as [number, number];
  if (rank >= oldest && rank <= newest) return ok(line);
  if (make === 'Redis' && rank < oldest)
    return fail(`${line} lacks commands that a repair needs`, `upgrade it to ${OLDEST} or newer`);
  const tried = `Redis ${OLDEST} to ${TRIED.Redis.at(-1)} and Valkey ${TRIED.Valkey.at(-1)}`;
  return warn(`${line} was not tried with keymend, as ${tried} were`, 'try keys of each type on a copy of it first');
}

/** Of the first two numbers; of what is no version NaN, which is neither older nor newer. */
function rankOf(version: string): number {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) * 1000 + Number(minor);
}
