/**
 * What the bridge tells of its records in traces: a span for each key that it takes over, in the
 * trace of the newest record of the key, with links to those of the others. Whoever goes on with
 * the key gets its place.
 */
import type { IntakeRecord } from '../events/intake.js';
import type { OpenSpan, Tracing } from '../telemetry/tracing.js';
import type { Part } from './group.js';

const NO_SPAN: OpenSpan = { traceparent: undefined, end: () => {} };
/** As many as the SDK keeps. */
const MOST_LINKS = 128;

export class RecordSpans {
  readonly #tracing: Tracing | undefined;
  readonly #system: string;

  /** @param log what the records are in, as of their dead letters */
  constructor(tracing: Tracing | undefined, log: 'topic' | 'stream') {
    this.#tracing = tracing;
    this.#system = log === 'topic' ? 'kafka' : 'redis';
  }

  /** Of the records of one key, or of one that is no failed write. */
  of(item: Part['items'][number]): OpenSpan {
    if (this.#tracing === undefined) return NO_SPAN;
    if (item.kind === 'undeliverable') return this.#begin(item.record, []);
    const [newest, ...others] = item.writes.map(({ record }) => record).toReversed();
    const attributes = { 'keymend.link': item.link.name, 'keymend.key': this.#tracing.shown(item.key) };
    return this.#begin(newest!, others, attributes);
  }

  /** Of many keys together. It begins a trace of its own: of theirs none is the right one. */
  ofBatch(link: string, records: readonly IntakeRecord[]): OpenSpan {
    return this.#begin(null, records, { 'keymend.link': link });
  }

  #begin(parent: IntakeRecord | null, others: readonly IntakeRecord[], more: Record<string, string> = {}): OpenSpan {
    const { position } = (parent ?? others[0])!;
    return (
      this.#tracing?.begin(`process ${position.topic}`, {
        kind: 'consumer',
        parent: parent === null ? undefined : traceparentIn(parent),
        links: others
          .map(traceparentIn)
          .filter((link) => link !== undefined)
          .slice(0, MOST_LINKS),
        attributes: {
          'messaging.system': this.#system,
          'messaging.operation.type': 'process',
          'messaging.operation.name': 'process',
          'messaging.destination.name': position.topic,
          'messaging.destination.partition.id': `${position.partition}`,
          // As text: an offset has 64 bits.
          'keymend.record.offset': position.offset,
          'messaging.batch.message_count': others.length + (parent === null ? 0 : 1),
          ...more,
        },
      }) ?? NO_SPAN
    );
  }
}

/** Of several headers of that name the last one counts. */
function traceparentIn({ headers }: IntakeRecord): string | undefined {
  const { traceparent } = headers;
  const last = Array.isArray(traceparent) ? traceparent.at(-1) : traceparent;
  return last === undefined || last === null ? undefined : String(last);
}
