/** What a sample says of all. */

/** In so many of a hundred samples the bound holds. */
const CONFIDENCE = 0.95;

/**
 * The greatest part of all that can differ, when so many of a random sample do (Clopper and
 * Pearson, one-sided).
 * @returns from 0 to 1
 */
export function atMost(differing: number, sampled: number): number {
  if (sampled === 0 || differing >= sampled) return 1;
  let [low, high] = [differing / sampled, 1];
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (upTo(differing, sampled, middle) > 1 - CONFIDENCE) low = middle;
    else high = middle;
  }
  return high;
}

/** How likely at most `count` of `sampled` differ, where that part of all does. */
function upTo(count: number, sampled: number, part: number): number {
  let logOfTerm = sampled * Math.log1p(-part);
  let sum = Math.exp(logOfTerm);
  for (let k = 1; k <= count; k++) {
    logOfTerm += Math.log((sampled - k + 1) / k) + Math.log(part) - Math.log1p(-part);
    sum += Math.exp(logOfTerm);
  }
  return sum;
}
