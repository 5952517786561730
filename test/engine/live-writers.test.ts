/**
 * A live writer during the repair is never undone: what fails of its writes is reconciled at once,
 * beside the writers, and a checker judges the record of all writes.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isIdempotent } from '../../src/commands/command.js';
import { type LinkSides, reconcileKeys, scopeOf } from '../../src/engine/index.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING, putBack } from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';
import { POLICY } from '../support/workflow-bed.js';
import { breathe, DELETING, type LiveBed, startLiveBed } from './live-writing.js';

const WRITING = { writers: 4, writesEach: 1_500, stringsEach: 3, othersEach: 0, longestPauseMs: 3 };

let bed: LiveBed;
beforeAll(async () => {
  bed = await startLiveBed();
});
afterAll(() => bed?.stop());

/** What is pending for each key, as the workflows of the keys hold it. */
class Pendings {
  readonly #byKey = new Map<string, Pending>();

  readonly sink = {
    publish: async (records: readonly FailedWrite[]) => {
      for (const record of records) {
        const event = { ...record, idempotent: isIdempotent(record.command ?? '') };
        this.#byKey.set(
          record.key,
          addFailedWrites(this.#byKey.get(record.key) ?? NOTHING_PENDING, [event], POLICY, Date.now()),
        );
      }
    },
  };

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Reconciles some of the keys, in the part that their failed writes name. What does not succeed
   * stays pending.
   */
  async reconcileSome(sides: LinkSides): Promise<string[]> {
    const round = [...this.#byKey].filter(() => Math.random() < 0.7);
    for (const [key] of round) this.#byKey.delete(key);
    const requests = round.map(([key, { hint }]) => ({ key: Buffer.from(key), scope: scopeOf(hint) }));
    const results = await reconcileKeys(sides, requests, DELETING);
    for (const [index, result] of results.entries()) {
      if (result.outcome !== 'failed') continue;
      if (result.error.type !== 'Contended') throw result.error;
      const [key, pending] = round[index]!;
      this.#byKey.set(key, putBack(pending, this.#byKey.get(key) ?? NOTHING_PENDING));
    }
    return results.map((result) => (result.outcome === 'repaired' ? result.action : result.outcome));
  }
}

test('no repair brings back what a client has overwritten or deleted, and all ends equal', async () => {
  const pendings = new Pendings();
  const actions: string[] = [];
  const judged = await bed.run(WRITING, pendings.sink, ({ sides, isWriting }) => {
    const reconcile = async () => {
      while (isWriting() || pendings.size > 0) {
        actions.push(...(await pendings.reconcileSome(sides)));
        await breathe(1);
      }
    };
    return Promise.all([reconcile(), reconcile()]);
  });
  expect(judged).toEqual({ violations: [], differences: [], isPutToTheTest: true });
  // Else it would not have been put to the test.
  for (const action of ['restored', 'deleted', 'members', 'equal']) expect(actions).toContain(action);
});
