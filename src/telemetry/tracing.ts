/**
 * Spans of our own, by OpenTelemetry. None exists unless the configuration names a collector: then
 * its SDK is loaded, which those who want no spans need not install.
 */
import { type Attributes, type Span, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import type { Logger } from 'pino';
import type { TracingConfig } from '../config.js';
import { Outage } from '../patience/outage.js';
import { within } from '../patience/within.js';
import { type ShownKey, shownKey } from '../privacy.js';
import { contextOf, spanContextOf, traceparentOf } from '../traceparent.js';

/** For an answer, in ms. It begins only once the exporter is connected, and anew with each byte. */
const ANSWER_MS = 3_000;
/** For the whole of an export. */
const EXPORT_MS = 4_000;
/** A collector that hangs must not hold up the end of a process. */
const LAST_WORDS_MS = 5_000;

/** What a span is of. */
interface SpanOf {
  readonly kind: 'consumer' | 'internal';
  readonly attributes: Attributes;
  /** As W3C writes them; those that can't be read are left out. */
  readonly parent?: unknown;
  readonly links?: readonly unknown[];
}

export interface OpenSpan {
  /** For those that follow it; undefined: none need. */
  readonly traceparent: string | undefined;
  /** @param errorType the span failed, in this way: a word of ours, never a message */
  end(attributes?: Attributes, errorType?: string): void;
}

export interface Tracing {
  /** A key, or a text that may have one in it, as the configuration lets it be shown. */
  readonly shown: ShownKey;
  begin(name: string, of: SpanOf): OpenSpan;
}

interface StartOptions {
  readonly version: string;
  readonly logger: Logger;
}

/**
 * Loads the SDK. Nothing global is touched.
 * @returns undefined where the configuration names no collector
 * @throws Error in one line when the SDK is not installed
 */
export async function startTracing(
  config: TracingConfig | undefined,
  { version, logger }: StartOptions,
): Promise<(Tracing & { close(): Promise<void> }) | undefined> {
  if (config?.otlp === undefined) return undefined;
  const { node, exporter: otlp, resources } = await loadSdk();
  const url = `${config.otlp.replace(/\/+$/, '')}/v1/traces`;
  const exporter = new otlp.OTLPTraceExporter({ url, timeoutMillis: ANSWER_MS });
  const outage = new Outage(logger, `the collector ${url} takes no spans`, 'Repairs go on; spans are lost.');
  const send = exporter.export.bind(exporter);
  exporter.export = async (spans, done) => {
    const sent = new Promise<Parameters<typeof done>[0]>((resolve) => send(spans, resolve));
    const late = { code: FAILED, error: new Error(`no answer within ${EXPORT_MS / 1000} s`) };
    const ended = await within(EXPORT_MS, sent).catch((error: Error) => ({ code: FAILED, error }));
    const result = ended === 'late' ? late : ended;
    if (result.code === SUCCESS) outage.worked();
    else outage.failed(reasonOf(result.error));
    done(result);
  };
  const provider = new node.NodeTracerProvider({
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count.
    resource: resources
      .resourceFromAttributes({ 'service.name': 'keymend', 'service.version': version })
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    spanProcessors: [new node.BatchSpanProcessor(exporter)],
  });
  return {
    ...tracingBy(provider.getTracer('keymend', version), shownKey(config)),
    async close() {
      // What can't be told any more was told of by the outage. An export from before is waited for
      // too, however long its socket stays open.
      await within(LAST_WORDS_MS, provider.shutdown()).catch(() => {});
    },
  };
}

/** `ExportResultCode`, of a package that need not be installed. */
const SUCCESS = 0;
const FAILED = 1;

/** A name with several addresses, all refused, and an answer without a reason have no message. */
function reasonOf(error: (Error & { code?: string | number }) | undefined): string {
  const code = typeof error?.code === 'number' ? `HTTP ${error.code}` : error?.code;
  return error?.message || code || 'no reason given';
}

const KINDS = { consumer: SpanKind.CONSUMER, internal: SpanKind.INTERNAL };

function tracingBy(tracer: Tracer, shown: ShownKey): Tracing {
  return {
    shown,
    begin(name, { kind, attributes, parent, links = [] }) {
      const linked = links.flatMap((link) => spanContextOf(link) ?? []).map((context) => ({ context }));
      const span = tracer.startSpan(name, { kind: KINDS[kind], attributes, links: linked }, contextOf(parent));
      return { traceparent: traceparentOf(span.spanContext()), end: (...how) => end(span, ...how) };
    },
  };
}

function end(span: Span, attributes: Attributes = {}, errorType?: string): void {
  span.setAttributes(attributes);
  if (errorType !== undefined) span.setAttribute('error.type', errorType).setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}

const PACKAGES = [
  '@opentelemetry/sdk-trace-node',
  '@opentelemetry/exporter-trace-otlp-proto',
  '@opentelemetry/resources',
];

async function loadSdk() {
  try {
    const [node, exporter, resources] = await Promise.all([
      import('@opentelemetry/sdk-trace-node'),
      import('@opentelemetry/exporter-trace-otlp-proto'),
      import('@opentelemetry/resources'),
    ]);
    return { node, exporter, resources };
  } catch (error) {
    const message = 'tracing.otlp needs the SDK of OpenTelemetry, which could not be loaded';
    throw new Error(`${message}: npm install ${PACKAGES.join(' ')}`, { cause: error });
  }
}
