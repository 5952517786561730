/**
 * The place of a span in a trace as text, as W3C Trace Context writes it: so it travels in a
 * header of a record, and on through a workflow. Only this form is ever read: whatever else stands
 * there goes no further. What vendors keep in `tracestate` does not travel.
 */
import { type Context, isSpanContextValid, ROOT_CONTEXT, type SpanContext, trace } from '@opentelemetry/api';

const WRITTEN = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** @returns undefined for a span that is in no trace, because nobody collects them */
export function traceparentOf(context: SpanContext): string | undefined {
  if (!isSpanContextValid(context)) return undefined;
  const { traceId, spanId, traceFlags } = context;
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

/** @returns undefined for what is no place in a trace */
export function spanContextOf(traceparent: unknown): SpanContext | undefined {
  const [, traceId, spanId, flags] = (typeof traceparent === 'string' && WRITTEN.exec(traceparent)) || [];
  const context = { traceId: traceId ?? '', spanId: spanId ?? '', traceFlags: Number.parseInt(flags ?? '', 16) };
  return isSpanContextValid(context) ? { ...context, isRemote: true } : undefined;
}

/** In which a span is a child of that place; without one it begins a trace. */
export function contextOf(traceparent: unknown): Context {
  const parent = spanContextOf(traceparent);
  return parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
}
