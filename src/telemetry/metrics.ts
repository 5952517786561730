/**
 * What a process counts. One registry for each process, handed to its parts; each part registers
 * its own, so that a worker shows nothing of a bridge.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { DEAD_LETTER_REASONS, type DeadLetterReason } from '../../workflows/dead-letter-reasons.js';

export class Metrics {
  readonly registry = new Registry();
  readonly #deadLetters: Counter<'reason'>;
  #ofOthers: (() => Promise<string>) | null = null;

  constructor() {
    this.#deadLetters = new Counter({
      name: 'keymend_dead_letters_total',
      help: 'Dead letters written, by reason.',
      labelNames: ['reason'],
      registers: [this.registry],
    });
    // From the beginning: a rate from nothing to one is none.
    for (const reason of DEAD_LETTER_REASONS) this.#deadLetters.inc({ reason }, 0);
  }

  /** Those of the process itself, with its version. They have timers of their own. */
  ofProcess(version: string): void {
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: 'keymend_build_info',
      help: 'Always 1; the version of this process.',
      labelNames: ['version'],
      registers: [this.registry],
    }).set({ version }, 1);
  }

  /** @param text lines in the same format, of names that are none of ours: asked for each time */
  alsoTell(text: () => Promise<string>): void {
    this.#ofOthers = text;
  }

  /** All there is; what others do not tell now is no reason to be silent. */
  async text(): Promise<string> {
    const [own, others] = await Promise.all([
      this.registry.metrics(),
      this.#ofOthers?.().catch((error: unknown) => `# not told: ${JSON.stringify(String(error))}\n`),
    ]);
    return own + (others ?? '');
  }

  deadLettered(reason: DeadLetterReason): void {
    this.#deadLetters.inc({ reason });
  }
}
