/**
 * What an application imports as `@keymend/dual-writer/tracing`: a span for each failed write, in
 * the trace of whatever the application did when it wrote. Needs `@opentelemetry/api` and a tracer
 * that the application has registered; without one there are no spans.
 */
import { type Context, context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { type PrivacyRule, shownKey } from '../privacy.js';
import { traceparentOf } from '../traceparent.js';
import type { WriteTracing } from './records/to-records.js';

/**
 * @param rule how keys stand in the spans, as `tracing` of keymend.yaml has it
 * @example createDualWriter({ tracing: traceFailedWrites({ privacy: 'truncate' }), … })
 */
export function traceFailedWrites(rule: PrivacyRule): WriteTracing {
  const tracer = trace.getTracer('keymend');
  const shown = shownKey(rule);
  const contexts = new WeakMap<object, Context>();
  return {
    sent(write) {
      contexts.set(write, context.active());
    },
    recorded: (record, newest) => spanOf(record, contexts.get(newest) ?? ROOT_CONTEXT),
  };

  function spanOf({ link, key, encoding = 'utf8', command, outcome, error }: FailedWrite, parent: Context) {
    const attributes = {
      'messaging.operation.type': 'create',
      'db.system.name': 'redis',
      ...(command !== undefined && { 'db.operation.name': command }),
      ...(error?.code !== undefined && { 'error.type': error.code }),
      'keymend.link': link,
      'keymend.key': shown(keyBytes({ key, encoding })),
      'keymend.outcome': outcome ?? 'unknown',
    };
    const span = tracer.startSpan('failed write', { kind: SpanKind.PRODUCER, attributes }, parent);
    span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
    return traceparentOf(span.spanContext());
  }
}
