/** For a name that is not known, the known one that was most likely meant. */

/**
 * @param unknown a name, or a path of them: `temporal.taskqueue`
 * @param known the same, as they are to be shown; of paths the last part counts most
 * @returns for example `, did you mean "temporal.taskQueue"?`, or nothing where none is near
 */
export function didYouMean(unknown: string, known: Iterable<string>): string {
  const { name, place } = parted(unknown);
  const most = Math.max(1, Math.floor(name.length / 3));
  let best: { readonly path: string; readonly distance: number } | null = null;
  for (const path of known) {
    const candidate = parted(path);
    const byName = edits(name.toLowerCase(), candidate.name.toLowerCase(), most);
    // One that is in this place comes first.
    const isHere = candidate.place === place;
    const distance = isHere ? byName : byName + 0.5;
    // Elsewhere only the very same name counts: short ones are all alike.
    if (byName > (isHere ? most : 0)) continue;
    if (best === null || distance < best.distance) best = { path, distance };
  }
  return best === null ? '' : `, did you mean "${best.path}"?`;
}

function parted(path: string): { readonly name: string; readonly place: string } {
  const at = path.lastIndexOf('.');
  return { name: path.slice(at + 1), place: path.slice(0, Math.max(0, at)).replace(/\[\d*\]/g, '') };
}

/** How many letters to add, take away, change or swap with the next; not told above `most`. */
function edits(one: string, other: string, most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1;
  let [beforeLast, last]: [number[], number[]] = [[], Array.from({ length: other.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const changed = last[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      row[j] = Math.min(changed, last[j]! + 1, row[j - 1]! + 1);
      const swapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      if (swapped) row[j] = Math.min(row[j]!, beforeLast[j - 2]! + 1);
    }
    [beforeLast, last] = [last, row];
  }
  return last[other.length]!;
}
