/** What happens to the network of the application while it writes, one phase after the other. */
import type { FaultProxy } from '../stack/proxy.js';
import type { KafkaLink } from './kafka-link.js';

/** The links of the application that can fail. */
export interface Links {
  readonly target: FaultProxy;
  readonly kafka: KafkaLink;
}

export interface Phase {
  readonly name: string;
  /** How many writes it lasts. */
  readonly operations: number;
  /** What the links do from its beginning on. */
  readonly begin: (links: Links) => void;
  /** Called before each write with the number of those before it. */
  readonly during?: (links: Links, operation: number) => void;
}

/** How long the target may take for a write, in ms. */
export const MIRROR_TIMEOUT_MS = 250;

const restored = (operations: number): Phase => ({
  name: 'restored',
  operations,
  begin({ target, kafka }) {
    target.restore();
    kafka.restore();
  },
});

/** The last one is an outage, so that there is something to see. */
export const PHASES: readonly Phase[] = [
  { ...restored(300), name: 'healthy' },
  { name: 'slow', operations: 400, begin: ({ target }) => target.slow(4 * MIRROR_TIMEOUT_MS) },
  restored(250),
  { name: 'half-open', operations: 300, begin: ({ target }) => target.swallow() },
  restored(250),
  {
    name: 'resetting',
    operations: 300,
    begin() {},
    during({ target }, operation) {
      if (operation % 40 === 20) target.cut();
      if (operation % 40 === 30) target.restore();
    },
  },
  restored(250),
  {
    name: 'cut, from Kafka too',
    operations: 500,
    begin({ target, kafka }) {
      target.cut();
      kafka.cut();
    },
  },
  restored(250),
  { name: 'cut', operations: 300, begin: ({ target }) => target.cut() },
];
