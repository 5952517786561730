/**
 * Comparing without repairing: the protocol of the repair runs as ever, up to its first write. That
 * one is refused by the port in place of the server, and is the difference. So what a comparison
 * takes for equal is what a repair would leave alone, of every type and size, and nothing can be
 * written.
 */
import { createHash } from 'node:crypto';
import {
  type KeyWatch,
  LARGE,
  NO_TYPE,
  type ObservedState,
  type Rebuild,
  RedisFailure,
  type RedisPort,
  type Repair,
  type RepairOutcome,
  type TemporaryKey,
} from '../redis/index.js';
import type { KeyDeferred, KeyResult, LinkSides, ReconcileOptions } from './contract.js';
import { type ReconcileError, reconcileError } from './errors.js';
import { reconcileLargeKey } from './large/large-key.js';
import { reconcileKeys } from './reconcile.js';

/** Of the target: it lacks the key, the source does, or both have it and they differ in this. */
export type Difference = 'missing' | 'extra' | 'type' | 'value' | 'expiry';

/** Each stands for what that side had; '' where that can't be said in short. */
interface Seen {
  readonly onSource: string;
  readonly onTarget: string;
}

export interface Differing extends Seen {
  readonly outcome: 'differs';
  readonly difference: Difference;
}

interface CompareOptions extends ReconcileOptions {
  /** For a look alone: it may be why the key differs. */
  readonly targetMayBeReplica?: boolean;
}

export type Compared =
  | { readonly outcome: 'equal' }
  | Differing
  | KeyDeferred
  | { readonly outcome: 'failed'; readonly error: ReconcileError };

/**
 * Compares keys as `reconcileKeys` would, and writes nothing. Idempotent. What the states of both
 * sides prove already needs no more, and no budget: what one side lacks, what is of another type,
 * and what is on both sides as it was when it was found to differ. That last is a guess: it may
 * have become equal between being compared and being seen.
 * @param keys at most as many as a port takes
 * @param sides with a memory that is not shared with repairs, of which it may learn what only
 *   matters to a write
 * @param before what an earlier comparison of each key found, if it is known
 * @returns one answer for each key, in order. A difference may be that of a write on its way
 * @throws the signal's reason when it aborts
 */
export async function compareKeys(
  sides: Required<LinkSides>,
  keys: readonly Buffer[],
  options: CompareOptions,
  before: readonly (Differing | undefined)[] = [],
): Promise<Compared[]> {
  const states = await bothStates(sides, keys, options);
  const answers = states.map((now, index) => proven(now, before[index], options));
  const open = [...answers.keys()].filter((index) => answers[index] === null);
  const compared = await compareContent(
    sides,
    open.map((index) => keys[index]!),
    options,
  );
  for (const [position, index] of open.entries()) answers[index] = compared[position]!;
  return answers as Compared[];
}

/** null: that takes a comparison of what both have. */
function proven(states: States, before: Differing | undefined, { cache }: CompareOptions): Compared | null {
  const now = difference(states, { ofExpiry: before?.difference === 'expiry', cache });
  if (now.outcome !== 'differs' || !['value', 'expiry'].includes(now.difference)) return now;
  const isAsBefore = before?.onSource === now.onSource && before.onTarget === now.onTarget;
  return isAsBefore && now.onSource !== '' && now.onTarget !== '' ? now : null;
}

async function compareContent(
  sides: Required<LinkSides>,
  keys: readonly Buffer[],
  options: CompareOptions,
): Promise<Compared[]> {
  if (keys.length === 0) return [];
  const refused = new Refused(options);
  const link = { ...sides, target: refused.port(sides.target) };
  // The guard of deletes has nothing to guard here.
  const requests = keys.map((key) => ({ key, allowDelete: true }));
  const results = await reconcileKeys(link, requests, options);
  for (const [index, { outcome }] of results.entries()) {
    if (outcome !== 'large') continue;
    results[index] = await reconcileLargeKey(link, requests[index]!, { ...options, onProgress() {} });
  }
  return classified(sides, keys, { results, refused, options });
}

async function classified(
  sides: LinkSides,
  keys: readonly Buffer[],
  { results, refused, options }: { results: readonly KeyResult[]; refused: Refused; options: CompareOptions },
): Promise<Compared[]> {
  const differing = keys.filter((_, index) => isRefused(results[index]!));
  const states = differing.length === 0 ? [] : await bothStates(sides, differing, options);
  return results.map((result, index): Compared => {
    if (isRefused(result))
      return difference(states.shift()!, { ofExpiry: refused.isOfExpiry(keys[index]!), cache: options.cache });
    if (result.outcome === 'deferred' || result.outcome === 'failed') return result;
    return { outcome: 'equal' };
  });
}

function isRefused(result: KeyResult): boolean {
  return result.outcome === 'failed' && (result.error.cause as Partial<RedisFailure> | undefined)?.code === REFUSED;
}

type States = readonly [target: ObservedState, source: ObservedState] | ReconcileError;

async function bothStates(
  { source, target }: LinkSides,
  keys: readonly Buffer[],
  { targetMayBeReplica = false }: CompareOptions,
): Promise<States[]> {
  const ofTarget = await target.inspect(keys, { atMaster: !targetMayBeReplica });
  const ofSource = await source.inspect(keys, { atMaster: true });
  return keys.map((_, index) => {
    const states = [ofTarget[index]!, ofSource[index]!] as const;
    if (states[0] instanceof RedisFailure) return reconcileError(states[0], 'target', 'compare', target.place);
    if (states[1] instanceof RedisFailure) return reconcileError(states[1], 'source', 'compare', source.place);
    return [states[0], states[1]];
  });
}

interface Of {
  readonly ofExpiry: boolean;
  readonly cache: ReconcileOptions['cache'];
}

/** What each side has now, a moment after they were seen to differ. */
function difference(states: States, { ofExpiry, cache }: Of): Compared {
  if (!Array.isArray(states)) return { outcome: 'failed', error: states as ReconcileError };
  const [target, source] = states as [ObservedState, ObservedState];
  const { type } = source;
  const seen = { onSource: inShort(source), onTarget: inShort(target) };
  const found = (difference: Difference): Compared => ({ outcome: 'differs', difference, ...seen });
  // A cache may lack any key.
  if (target.type === NO_TYPE) return type === NO_TYPE || cache !== undefined ? { outcome: 'equal' } : found('missing');
  if (type === NO_TYPE) return found('extra');
  if (type !== target.type) return found('type');
  return found(ofExpiry ? 'expiry' : 'value');
}

function inShort({ type, digest, expiry }: ObservedState): string {
  return digest === LARGE ? '' : createHash('sha1').update(`${type} ${expiry} ${digest}`).digest('base64');
}

/** And not a word in its place. */
const IS_DIGEST = /[0-9a-f]{40}$/;

/** The code of a write that was refused here. */
const REFUSED = 'COMPARED';

/**
 * Refuses every write of a target, and keeps which of them were of an expiry alone. The protocol of
 * the repair asks for a master; whether one is needed here the comparison says.
 */
class Refused {
  readonly #at: { readonly atMaster: boolean };
  readonly #expiries = new Set<string>();
  readonly #failure = new RedisFailure(REFUSED, 'nothing is written, for this is a comparison');

  constructor({ targetMayBeReplica = false }: CompareOptions) {
    this.#at = { atMaster: !targetMayBeReplica };
  }

  isOfExpiry(key: Buffer): boolean {
    return this.#expiries.has(key.toString('latin1'));
  }

  port(target: RedisPort): RedisPort {
    return instead(target, {
      admit: async (...asked) => {
        const admission = await target.admit(...asked);
        return 'port' in admission ? { ...admission, port: this.port(admission.port) } : admission;
      },
      inspect: (keys) => target.inspect(keys, this.#at),
      inspectMembers: (requests) => target.inspectMembers(requests, this.#at),
      repair: (repairs) => Promise.all(repairs.map((repair) => this.#repair(target, repair))),
      rebuild: (rebuilds) => Promise.all(rebuilds.map((rebuild) => this.#repair(target, rebuild))),
      // Nor is anything told to a cache: it would have an entry for each key that was looked at.
      rememberVersions: async (versions) => versions.map(() => 'remembered'),
      repairMembers: async (repairs) => {
        for (const { key, members } of repairs) if (members.length === 0) this.#ofExpiry(key);
        return repairs.map(() => this.#failure);
      },
      watch: async (key) => {
        const watch = await target.watch(key);
        return watch instanceof RedisFailure ? watch : this.#watch(watch, key);
      },
    });
  }

  /** What only lies otherwise in memory shows in a repair in the moment of its write. */
  async #repair(target: RedisPort, { key, observed, change }: Repair | Rebuild): Promise<RepairOutcome | RedisFailure> {
    if (change.action === 'expiry') {
      this.#ofExpiry(key);
      return this.#failure;
    }
    const content = change.action === 'delete' ? change.unless : change.content;
    // No digest: the source has seen already that there is a difference, or can't tell.
    if (!content || !IS_DIGEST.test(content)) return this.#failure;
    // A content digest proves no difference to what servers say: so they compare the content.
    const digest = change.action === 'restore' ? change.dump.toString('latin1') : content;
    const [reading] = await target.read([{ key, known: { type: observed.type, digest } }]);
    if (reading instanceof RedisFailure || reading === 'deferred') return this.#failure;
    const { type, dump } = reading!;
    // Of one that has become large meanwhile there is no DUMP either.
    const isSame =
      type === observed.type && reading!.digest !== LARGE && (dump === null || reading!.content === content);
    if (isSame && (change.action === 'delete' || change.expiryTolerated)) return 'equal';
    if (isSame) this.#ofExpiry(key);
    return this.#failure;
  }

  #watch(watch: KeyWatch, key: Buffer): KeyWatch {
    const refuse = async () => this.#failure;
    // Its name is free, and stays so.
    const { name } = watch.temporaryKey();
    const temporary = new Proxy({} as TemporaryKey, {
      get: (_, method) => (method === 'name' ? name : method === 'discard' ? async () => {} : refuse),
    });
    return instead(watch, {
      temporaryKey: () => temporary,
      unchanged: () => watch.unchanged(this.#at),
      write: async ({ action }) => {
        if (action === 'expiry') this.#ofExpiry(key);
        return this.#failure;
      },
    });
  }

  #ofExpiry(key: Buffer): void {
    this.#expiries.add(key.toString('latin1'));
  }
}

/** The same, but for some of its methods. */
function instead<T extends object>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      if (Object.hasOwn(methods, name)) return methods[name as keyof T];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
