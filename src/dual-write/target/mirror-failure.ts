/** How a mirrored write can fail. */

/** Why the target does not have a write. `message` holds nothing of the application's data. */
export interface MirrorFailure {
  /** `refused`: nothing of it is under way any more. `unknown`: the target may have applied it. */
  readonly outcome: 'refused' | 'unknown';
  readonly error: { readonly code: string; readonly message: string };
  /** It shows that more of the key may differ than the write touches. */
  readonly scope?: 'whole';
  /** Of the keys of the writes these alone. Absent: all. */
  readonly keys?: readonly Buffer[];
  /** The target has the writes. Only what has become of these keys is not known. */
  readonly doubt?: true;
}

/** Two doubts of one unit. The keys of both are in doubt, and whole if one of them says so. */
export function bothDoubts(
  one: MirrorFailure | undefined,
  other: MirrorFailure | undefined,
): MirrorFailure | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return { ...one, ...other, keys: [...(one.keys ?? []), ...(other.keys ?? [])] };
}
