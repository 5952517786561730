/**
 * The budget of a link on a Cluster: every master has an equal share of it, and keeps the timeline
 * of its share itself, under a key that lies in a slot of its own.
 */

import type { Connection } from '../connection/connection.js';
import type { RedisFailure } from '../connection/failure.js';
import { tagIn } from '../slots.js';
import type { Master } from '../topologies/cluster-nodes.js';
import { type Budget, type BudgetOptions, createBudget } from './budget.js';

interface Share {
  readonly opsPerSecond: number;
  readonly budget: Budget;
  /** As last known. */
  master: Master;
  /** The slot of the last lease: all who waited for it are told of one refusal. */
  asked: number | null;
  /** Slots that the master refused, and until when (`performance.now()`) they are left out. */
  readonly refused: Map<number, number>;
}

/** How long a slot stays left out: moving a slot takes less, as a rule. */
const LEFT_OUT_MS = 60_000;
/** What shows that the slot of the key is not, or not wholly, at this master. */
const REFUSALS_OF_SLOT: ReadonlySet<string> = new Set(['MOVED', 'ASK', 'TRYAGAIN']);

export class ClusterBudgets {
  readonly #shares = new WeakMap<Connection, Share>();

  readonly #options: BudgetOptions;

  constructor(options: BudgetOptions) {
    this.#options = options;
  }

  /** @param masters how many share the budget */
  of(master: Master, masters: number): Budget {
    const opsPerSecond = this.#options.opsPerSecond / masters;
    const known = this.#shares.get(master.connection);
    if (known?.opsPerSecond === opsPerSecond) {
      known.master = master;
      return known.budget;
    }
    const bytesPerSecond = this.#options.bytesPerSecond && this.#options.bytesPerSecond / masters;
    const options = { ...this.#options, opsPerSecond, bytesPerSecond };
    const budget = createBudget(master.connection, options, () => this.#keyOf(share));
    const share: Share = { opsPerSecond, budget, master, asked: null, refused: known?.refused ?? new Map() };
    this.#shares.set(master.connection, share);
    return budget;
  }

  /**
   * To be told why a master granted nothing.
   * @returns whether it was for the slot of the key alone, so that asking once more makes sense:
   *   another slot serves as well
   */
  refused({ connection }: Master, failure: RedisFailure): boolean {
    const share = this.#shares.get(connection);
    if (share === undefined || share.asked === null || !REFUSALS_OF_SLOT.has(failure.code)) return false;
    share.refused.set(share.asked, performance.now() + LEFT_OUT_MS);
    return true;
  }

  #keyOf(share: Share): string {
    share.asked = slotFor(share);
    return `keymend:budget:{${tagIn(share.asked)}}:${this.#options.link}`;
  }
}

/**
 * The same for every worker, so that all share one timeline: the last slot, for the first ones are
 * given away first by redis-cli.
 */
function slotFor({ master, refused }: Share): number {
  const now = performance.now();
  const isLeftOut = (slot: number) => (refused.get(slot) ?? 0) > now;
  const ranges = [...master.slots].sort(([one], [other]) => other - one);
  for (const [first, last] of ranges) {
    for (let slot = last; slot >= first; slot--) if (!isLeftOut(slot)) return slot;
  }
  return ranges[0]![1];
}
