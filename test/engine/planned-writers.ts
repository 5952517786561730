/** Writers that go on while the engine is at work, at moments that a test has planned. */
import type { Accepted, MirrorModel } from './mirror-model.js';
import type { Command } from './random-writes.js';

export interface PlannedWrite {
  readonly command: Command;
  /** At which tick the source gets it. */
  readonly at: number;
  /** How many ticks later the target does; never before an earlier write. */
  readonly lag: number;
  readonly lost: boolean;
}

export class PlannedWriters {
  readonly #planned: PlannedWrite[];
  readonly #underWay: { due: number; accepted: Accepted }[] = [];
  #now = 0;
  #turn: Promise<void> = Promise.resolve();
  /** How many writes the source has carried out. */
  written = 0;

  constructor(
    private readonly model: MirrorModel,
    planned: readonly PlannedWrite[],
  ) {
    this.#planned = [...planned].sort((one, other) => one.at - other.at);
  }

  /**
   * Lets one tick pass; resolves when all that was due has happened. One after the other, whoever
   * calls.
   */
  tick(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#advance(this.#now++));
    return this.#turn;
  }

  /** Runs work that no tick interrupts. */
  undisturbed<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  /** Lets all that is left happen. */
  async finish(): Promise<void> {
    while (this.#planned.length + this.#underWay.length > 0) await this.tick();
  }

  async #advance(now: number): Promise<void> {
    while (this.#planned[0] !== undefined && this.#planned[0].at <= now) await this.#write(this.#planned.shift()!, now);
    while (this.#underWay[0] !== undefined && this.#underWay[0].due <= now) {
      await this.model.deliver(this.#underWay.shift()!.accepted);
    }
  }

  async #write({ command, lag, lost }: PlannedWrite, now: number): Promise<void> {
    const accepted = await this.model.write(command);
    if (accepted === null) return;
    this.written += 1;
    this.model.inFlight(accepted);
    if (lost) return this.model.lose(accepted.write, 'refused');
    this.#underWay.push({ due: Math.max(now + lag, this.#underWay.at(-1)?.due ?? 0), accepted });
  }
}
