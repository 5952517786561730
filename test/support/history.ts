/**
 * Judges a recorded history of versioned writes: whether a repair ever took back what a client had
 * written. Pure.
 *
 * A register is what holds one version: a string key, or one field of a hash. Its writer counts its
 * writes up from 1, deletes included, so that of two states of a register the older one is known.
 */

/** What a register was made to be. */
export interface RegisterEvent {
  readonly register: string;
  /** null: deleted by a repair, which says no version. */
  readonly version: number | null;
  readonly present: boolean;
  readonly by: 'client' | 'repair';
  /** When the server carried it out, by a clock that both servers share; any unit. */
  readonly at: number;
}

export interface History {
  /** In the order in which the source carried them out. Clients alone write there. */
  readonly source: readonly RegisterEvent[];
  /** In the order in which the target carried them out. */
  readonly target: readonly RegisterEvent[];
}

/**
 * Proves of each register:
 * - its writer counted up on the source (else the history is not fit to be judged);
 * - no repair brings a state that the source never had, or did not have yet;
 * - no repair brings a state older than one which a client had already written on the target. That
 *   holds from the moment of its execution there, which is before the client has its
 *   acknowledgement. What a client itself brings back is its own affair;
 * - in the end the target is as the source.
 *
 * One exception, of which no value can tell: an absence is like any other. A register that was
 * absent when it was compared, and is absent once more after newer writes have come and gone, may
 * get the version that was read in between; the engine then sees that the source has moved on and
 * goes again. So an older version may be put where nothing is, if something newer follows.
 *
 * @returns each violation as one line, empty for a good history
 */
export function violations({ source, target }: History): string[] {
  const [onSource, onTarget] = [byRegister(source), byRegister(target)];
  const registers = new Set([...onSource.keys(), ...onTarget.keys()]);
  return [...registers].flatMap((register) => {
    const found = judge(onSource.get(register) ?? [], onTarget.get(register) ?? []);
    return found.map((violation) => `${register}: ${violation}`);
  });
}

function byRegister(events: readonly RegisterEvent[]): Map<string, RegisterEvent[]> {
  const all = new Map<string, RegisterEvent[]>();
  for (const event of events) {
    const known = all.get(event.register);
    if (known === undefined) all.set(event.register, [event]);
    else known.push(event);
  }
  return all;
}

function judge(source: readonly RegisterEvent[], target: readonly RegisterEvent[]): string[] {
  const found: string[] = [];
  source.forEach(({ version }, index) => {
    if (version !== index + 1) found.push(`the source has version ${version} as its write number ${index + 1}`);
  });
  let newest = 0;
  for (const [index, event] of target.entries()) {
    if (event.by === 'client') {
      newest = Math.max(newest, event.version!);
      continue;
    }
    const origin = originOf(event, source);
    const what = event.present ? `version ${event.version}` : 'a delete';
    if (origin === undefined) {
      // Before its first write a register is absent.
      if (event.present || newest > 0) found.push(`a repair brought ${what} which the source had not had by then`);
    } else if (origin.version! < newest && !isMendedReappearance(index, newest, source, target)) {
      found.push(
        `a repair brought ${what} (of version ${origin.version}) after a client had written version ${newest}`,
      );
    }
  }
  const end = (events: readonly RegisterEvent[]) => {
    const last = events.at(-1);
    return last?.present ? `version ${last.version}` : 'absent';
  };
  if (end(source) !== end(target)) found.push(`in the end the source is ${end(source)} and the target ${end(target)}`);
  return found;
}

/**
 * The write of the source that a repair stands for: of a delete, the newest one until then, as the
 * most favourable reading.
 */
function originOf(repair: RegisterEvent, source: readonly RegisterEvent[]): RegisterEvent | undefined {
  return source.findLast(
    ({ version, present, at }) =>
      at <= repair.at && present === repair.present && (repair.version === null || version === repair.version),
  );
}

/**
 * Whether a repair put something where nothing was, and what comes next is as new as what clients
 * had written.
 */
function isMendedReappearance(
  index: number,
  newest: number,
  source: readonly RegisterEvent[],
  target: readonly RegisterEvent[],
): boolean {
  const [before, next] = [target[index - 1], target[index + 1]];
  if (!target[index]!.present || before === undefined || before.present || next === undefined) return false;
  const version = next.by === 'client' ? next.version : originOf(next, source)?.version;
  return (version ?? 0) >= newest;
}
