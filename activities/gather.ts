/**
 * Attempts at one link that are asked for at the same time are one call of the engine: what it
 * costs to ask two servers is paid once for all of them. Each ends by itself, and may be given up
 * alone.
 */

import type { ReconcileOptions } from '../src/engine/index.js';
import { type KeyRequest, type KeyResult, type KeyTask, type LinkSides, reconcileEach } from '../src/engine/index.js';

/** How long an attempt waits for others while a call is under way, in ms. */
const WAITS_MS = 5;
/** More make a round of their own length, which no other key is to wait for. */
const MEMBERS_TOGETHER = 16;

interface Asked {
  readonly task: KeyTask;
  readonly resolve: (result: KeyResult) => void;
  readonly reject: (reason: unknown) => void;
}

export class Gathering {
  readonly #sides: LinkSides;
  readonly #options: ReconcileOptions;
  #waiting: Asked[] = [];
  #underWay = 0;
  #due: NodeJS.Timeout | null = null;

  constructor(sides: LinkSides, options: ReconcileOptions) {
    this.#sides = sides;
    this.#options = options;
  }

  /**
   * As `reconcileKeys` does it for this key, together with those of others who ask meanwhile.
   * @throws the signal's reason when it aborts; the others are not concerned
   */
  reconcile(request: KeyRequest, signal: AbortSignal): Promise<KeyResult> {
    return new Promise((resolve, reject) => {
      const asked = { task: { ...request, signal }, resolve, reject };
      if (request.scope?.kind === 'members' && request.scope.members.length > MEMBERS_TOGETHER) {
        void this.#call([asked]);
        return;
      }
      this.#waiting.push(asked);
      // Whoever comes in the same turn of the event loop comes along in any case.
      this.#due ??= setTimeout(() => this.#callWaiting(), this.#underWay === 0 ? 0 : WAITS_MS);
    });
  }

  #callWaiting(): void {
    if (this.#due !== null) clearTimeout(this.#due);
    this.#due = null;
    void this.#call(this.#waiting.splice(0));
  }

  async #call(all: readonly Asked[]): Promise<void> {
    this.#underWay += 1;
    try {
      const tasks = all.map(({ task }) => task);
      await reconcileEach(this.#sides, tasks, this.#options, (index, result) => {
        const { task, resolve, reject } = all[index]!;
        if (result.outcome === 'given-up') reject(task.signal!.reason);
        else resolve(result);
      });
    } catch (error) {
      // Those that were settled before keep their results.
      for (const { reject } of all) reject(error);
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0 && this.#waiting.length > 0) this.#callWaiting();
    }
  }
}
