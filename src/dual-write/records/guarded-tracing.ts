/** Tracing is the application's, down to its samplers and processors: what throws there. */
import { messageOf } from '../../patience/outage.js';
import type { WriteTracing } from './to-records.js';

/** The same, but costing neither a write nor its record. A warning of the process tells of it. */
export function guardedTracing(tracing: WriteTracing): WriteTracing {
  let isTold = false;
  const guarded = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      const what = `the tracing of a DualWriter throws, and its failed writes have no spans: ${messageOf(error)}`;
      if (!isTold) process.emitWarning(what, 'KeymendWarning');
      isTold = true;
      return undefined;
    }
  };
  return {
    sent: (write) => void guarded(() => tracing.sent(write)),
    recorded(record, newest) {
      const place: unknown = guarded(() => tracing.recorded(record, newest));
      // Anything else could not be written into the record.
      return typeof place === 'string' ? place : undefined;
    },
  };
}
