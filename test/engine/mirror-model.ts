/**
 * A dual writer with a fault at every turn, for tests: each write goes to the source at once, and
 * to the target when the test says so, twice, late, or never. What the target did not get in order
 * and once becomes a failed write, described by the code that describes it in production, and is
 * kept pending as a workflow keeps it.
 */
import type { Redis } from 'ioredis';
import { isIdempotent } from '../../src/commands/command.js';
import { toRecords } from '../../src/dual-write/records/to-records.js';
import { classify, type Write } from '../../src/dual-write/source/write.js';
import { planMirror } from '../../src/dual-write/target/mirror-plan.js';
import { isIdle, type Replay } from '../../src/dual-write/target/replay.js';
import { type Scope, scopeOf } from '../../src/engine/index.js';
import type { LinkPolicy } from '../../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING } from '../../workflows/pending.js';
import type { Pending } from '../../workflows/run-state.js';
import type { Command } from './random-writes.js';

/** A write that the source has carried out, on its way to the target. */
export interface Accepted {
  readonly write: Write;
  /** null: the target is sent nothing. */
  readonly replay: Replay | null;
}

const POLICY: LinkPolicy = {
  settleMs: 1_000,
  verify: 'auto',
  retry: { maximumAttempts: 8, initialIntervalMs: 500, backoffCoefficient: 2, maximumIntervalMs: 30_000 },
  escalation: { retryEveryMs: 900_000 },
};

export class MirrorModel {
  /** By key, in latin1. */
  readonly #pending = new Map<string, Pending>();
  /**
   * Keys whose repair a write in flight may have met half-way: carried out by the source, not yet
   * by the target.
   */
  readonly #toVerify = new Set<string>();

  constructor(
    private readonly source: Redis,
    private readonly target: Redis,
  ) {}

  /** @returns null when the source refused it or it writes nothing that a target must hear of */
  async write([name, ...args]: Command): Promise<Accepted | null> {
    const classification = classify(name, args);
    let reply: unknown;
    try {
      reply = await this.source.callBuffer(name, [...args]);
    } catch {
      return null;
    }
    if (classification.kind !== 'write') return null;
    const { write } = classification;
    const plan = planMirror(write, reply);
    if (plan.kind === 'record') this.lose(write, 'refused');
    return { write, replay: plan.kind === 'replay' ? plan.replay : null };
  }

  /**
   * The target gets the write, and its answer is compared with the source's as a dual writer does.
   */
  async deliver({ write, replay }: Accepted): Promise<void> {
    if (replay === null) return;
    try {
      const reply = await this.target.callBuffer(replay.command, [...replay.args]);
      if (isIdle(reply) !== replay.idle) this.lose(write, 'refused');
    } catch {
      this.lose(write, 'refused');
    }
  }

  /** Notes a failed write for each key. */
  lose(write: Write, outcome: 'refused' | 'unknown'): void {
    const failure = { outcome, error: { code: 'TEST', message: 'lost by the test' } };
    for (const record of toRecords([write], failure, { link: 'test', origin: 'test' })) {
      const key = Buffer.from(record.key, record.encoding ?? 'utf8').toString('latin1');
      const event = { ...record, idempotent: isIdempotent(write.command) };
      this.#pending.set(key, addFailedWrites(this.#pending.get(key) ?? NOTHING_PENDING, [event], POLICY, Date.now()));
    }
  }

  /**
   * Notes a write that is in flight while its keys are repaired. If it isn't idempotent, or what it
   * writes depends on another key, a repair that already holds its effect would be followed by the
   * write itself: such keys are compared once more, as with `verify: always`.
   */
  inFlight({ write }: Accepted): void {
    if (isIdempotent(write.command) && write.keys.length === 1) return;
    for (const key of write.keys) this.#toVerify.add(key.toString('latin1'));
  }

  /** Whether something is still to be done about the key. */
  isPending(key: Buffer): boolean {
    const name = key.toString('latin1');
    return this.#pending.has(name) || this.#toVerify.has(name);
  }

  /** Which part of the key its failed writes name; null when there are none. */
  scope(key: Buffer): Scope | null {
    const pending = this.#pending.get(key.toString('latin1'));
    return pending === undefined ? null : scopeOf(pending.hint);
  }

  /** A round takes all that is pending. */
  take(key: Buffer): void {
    this.#pending.delete(key.toString('latin1'));
    this.#toVerify.delete(key.toString('latin1'));
  }
}
