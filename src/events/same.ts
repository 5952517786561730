/**
 * `true` where two unions have the same words, else `false`: then `true satisfies Same<…>` does not
 * compile.
 */
export type Same<One, Other> = [One, Other] extends [Other, One] ? true : false;
