/**
 * Who asks for a round (`reconcileNow`) and waits for what it comes to: each ask gets a ticket, and
 * an answer covers every ticket up to that of its round.
 */
import { ApplicationFailure } from '@temporalio/workflow';
import type { LastError, ReconcileKeyResult } from './messages.js';

type Answer = { readonly result: ReconcileKeyResult } | { readonly failure: LastError };

export class Asks {
  #lastTicket = 0;
  #roundTicket = 0;
  #answered: { readonly ticket: number; readonly answer: Answer } | null = null;

  /** @returns the ticket for `answerTo` */
  ask(): number {
    this.#lastTicket += 1;
    return this.#lastTicket;
  }

  /** Somebody has asked since the round under way began. */
  get wantRound(): boolean {
    return this.#lastTicket > this.#roundTicket;
  }

  /** Somebody waits. */
  get areOpen(): boolean {
    return this.#lastTicket > (this.#answered?.ticket ?? 0);
  }

  /** The round under way is for all who have asked so far. */
  coverAll(): void {
    this.#roundTicket = this.#lastTicket;
  }

  /** What the round under way has come to. */
  answer(answer: Answer): void {
    this.#answered = { ticket: this.#roundTicket, answer };
  }

  answerTo(ticket: number): Answer | null {
    return this.#answered !== null && this.#answered.ticket >= ticket ? this.#answered.answer : null;
  }
}

/**
 * Turns an answer into what the caller of `reconcileNow` gets.
 * @throws ApplicationFailure of the type of the last error
 */
export function unwrap(answer: Answer): ReconcileKeyResult {
  if ('result' in answer) return answer.result;
  throw ApplicationFailure.create({ message: answer.failure.message, type: answer.failure.type, nonRetryable: true });
}
