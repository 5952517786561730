/**
 * The turns of keys to have their workflow told. What fails of a key while it waits for its turn,
 * in whichever batch, goes along: a hot key costs one signal for each turn, and holds up nobody.
 */
import type { RecordedWrite } from './group.js';
import { Pace } from './pace.js';
import type { SignalEnd } from './signaller.js';

interface Waiting {
  readonly writes: RecordedWrite[];
  readonly end: Promise<SignalEnd>;
}

type Tell = (writes: readonly RecordedWrite[]) => Promise<SignalEnd>;

export class Turns {
  readonly #pace = new Pace();
  /** By workflow ID: whose turn has not come yet. */
  readonly #waiting = new Map<string, Waiting>();
  /** By workflow ID: of those that wait or are being told, the last. */
  readonly #last = new Map<string, Promise<SignalEnd>>();

  /**
   * @param writes of the key, in the order of the log
   * @param tell is called with them and those that go along, or not at all where they go along
   * @returns how it has ended for these writes; `aborted` when aborted before
   * @throws what `tell` of those that they went along with rejects with
   */
  async tell(workflowId: string, writes: readonly RecordedWrite[], abort: AbortSignal, tell: Tell): Promise<SignalEnd> {
    while (!abort.aborted) {
      const waiting = this.#waiting.get(workflowId);
      waiting?.writes.push(...writes);
      const end = await (waiting?.end ?? this.#lead(workflowId, writes, abort, tell));
      // Those that they went along with may be wanted no more while these are.
      if (end.kind !== 'aborted') return end;
    }
    return { kind: 'aborted' };
  }

  #lead(workflowId: string, first: readonly RecordedWrite[], abort: AbortSignal, tell: Tell): Promise<SignalEnd> {
    const writes = [...first];
    const before = this.#last.get(workflowId);
    const end = (async () => {
      // So that a key's workflow is told in the order of the log, however often one is tried.
      await before?.catch(() => {});
      await this.#pace.turn(workflowId, abort);
      this.#waiting.delete(workflowId);
      return abort.aborted ? ({ kind: 'aborted' } as const) : tell(writes);
    })();
    this.#waiting.set(workflowId, { writes, end });
    this.#last.set(workflowId, end);
    const forget = () => {
      if (this.#last.get(workflowId) === end) this.#last.delete(workflowId);
    };
    end.then(forget, forget);
    return end;
  }
}
