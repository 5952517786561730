/**
 * Many readers of one key look together. Each gets a look that was sent behind its call: one that
 * was under way may have seen what a write has deleted since, and so would answer with the past.
 */
import type { Leases, Look } from './leases.js';

interface UnderWay {
  readonly sent: Promise<Look>;
  /** The one behind it. */
  next: Promise<Look> | null;
}

export class SharedLooks {
  readonly #leases: Leases;
  /** By key. */
  readonly #underWay = new Map<string, UnderWay>();

  constructor(leases: Leases) {
    this.#leases = leases;
  }

  /** As `Leases.look`. Where it is to be loaded, one of those that look is told so. */
  look(key: Buffer): Promise<Look> {
    const name = key.toString('latin1');
    const now = this.#underWay.get(name);
    if (now === undefined) return this.#send(name, key);
    if (now.next !== null) return now.next.then((look) => this.#asOther(look));
    const send = () => this.#send(name, key);
    now.next = now.sent.then(send, send);
    return now.next;
  }

  #send(name: string, key: Buffer): Promise<Look> {
    const sent = this.#leases.look(key);
    const now: UnderWay = { sent, next: null };
    this.#underWay.set(name, now);
    const end = () => {
      if (now.next === null) this.#underWay.delete(name);
    };
    sent.then(end, end);
    return sent;
  }

  #asOther(look: Look): Look {
    return look.kind === 'load' ? { kind: 'wait', ms: this.#leases.leaseMs, holder: look.token } : look;
  }
}
