/** When something happened to how many keys, in few points however long it takes. */
import type { Timeline } from '../../workflows/sweep-messages.js';

export const MOST_POINTS = 60;

/**
 * @param atMs in ms since the epoch
 * @param most points, at least one
 */
export function marked(timeline: Timeline, atMs: number, keys: number, most = MOST_POINTS): Timeline {
  const last = timeline.at(-1);
  if (keys === 0) return timeline;
  // Mostly many at one moment.
  if (last?.at === atMs) return timeline.with(-1, { at: atMs, keys: last.keys + keys });
  return joined([timeline, [{ at: atMs, keys }]], most);
}

/** Of several, in the order of time. Of too many the nearest two become one, the later. */
export function joined(timelines: readonly Timeline[], most = MOST_POINTS): Timeline {
  const points = timelines.flat().sort((one, other) => one.at - other.at);
  while (points.length > most) {
    let nearest = 1;
    const gap = (index: number) => points[index]!.at - points[index - 1]!.at;
    for (let index = 2; index < points.length; index++) if (gap(index) < gap(nearest)) nearest = index;
    const [one, other] = points.slice(nearest - 1, nearest + 1) as [Timeline[0], Timeline[0]];
    points.splice(nearest - 1, 2, { at: other.at, keys: one.keys + other.keys });
  }
  return points;
}
