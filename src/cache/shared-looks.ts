/**
 * Many readers of one key look together. Each gets a look that was sent behind its call: one that
 * was under way may have seen what a write has deleted since, and so would answer with the past.
 */
import type { Leases, Look } from './leases.js';

interface UnderWay {
  readonly sent: Promise<Look>;
  /** The one behind it. */
  next: Shared<Look> | null;
}

interface Shared<Told> {
  /** For who asked first. */
  readonly first: Promise<Told>;
  readonly others: Promise<Told>;
}

type Bounded = (key: Buffer, look: Promise<Look>) => Promise<Look>;

export class SharedLooks {
  readonly #leases: Leases;
  readonly #bounded: Bounded;
  /** By key. */
  readonly #underWay = new Map<string, UnderWay>();

  /** @param bounded how long a look may take, from when the first of its readers came */
  constructor(leases: Leases, bounded: Bounded) {
    this.#leases = leases;
    this.#bounded = bounded;
  }

  /**
   * As `Leases.look`. Where it is to be loaded, one of those that look is told so. Who looks
   * together is given one and the same object.
   */
  look(key: Buffer): Promise<Look> {
    const name = key.toString('latin1');
    const now = this.#underWay.get(name);
    if (now === undefined) {
      const first = this.#send(name, key);
      return this.#orForget(name, this.#bounded(key, first.sent), () => first);
    }
    if (now.next !== null) return now.next.others;
    let last = now;
    const send = () => {
      last = this.#send(name, key);
      return last.sent;
    };
    const next = this.#bounded(key, now.sent.then(send, send));
    now.next = this.shared<Look>(this.#orForget(name, next, () => last));
    return now.next.first;
  }

  /** One of many may load. */
  shared<Told extends { readonly kind: string }>(first: Promise<Told | Look>): Shared<Told | Look> {
    const others = first.then((told) => ('token' in told ? this.#asOther(told.token) : told));
    // Of a reader that is alone.
    others.catch(() => {});
    return { first, others };
  }

  /**
   * A client may never say what became of a command that its connection took along: who comes
   * behind a look that had no answer sends one anew. That one may be under way by now.
   * @param waitsFor what the look waited for last
   */
  #orForget(name: string, look: Promise<Look>, waitsFor: () => UnderWay): Promise<Look> {
    look.catch(() => {
      if (this.#underWay.get(name) === waitsFor()) this.#underWay.delete(name);
    });
    return look;
  }

  #send(name: string, key: Buffer): UnderWay {
    const sent = this.#leases.look(key);
    const now: UnderWay = { sent, next: null };
    this.#underWay.set(name, now);
    const end = () => {
      if (now.next === null && this.#underWay.get(name) === now) this.#underWay.delete(name);
    };
    sent.then(end, end);
    return now;
  }

  #asOther(holder: string): Look {
    return { kind: 'wait', ms: this.#leases.leaseMs, holder };
  }
}
