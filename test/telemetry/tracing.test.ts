/** Spans of one process, and how they hang together with those of others. */
import dns from 'node:dns';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ProxyTracerProvider, trace } from '@opentelemetry/api';
import { afterEach, expect, it, vi } from 'vitest';
import { guardedTracing } from '../../src/dual-write/records/guarded-tracing.js';
import { traceFailedWrites } from '../../src/dual-write/tracing.js';
import { entryRecord, outboxFields } from '../../src/outbox/entry.js';
import { within } from '../../src/patience/within.js';
import { startTracing } from '../../src/telemetry/tracing.js';
import { failedWrite, type LogLine, loggerInto } from '../bridge/bridge-bed.js';
import { startCollector } from '../support/collector.js';
import { freePort } from '../support/redis.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = `00-${TRACE}-b7ad6b7169203331-01`;
const of = { kind: 'internal', attributes: {} } as const;

afterEach(() => {
  trace.disable();
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

async function started(otlp: string | undefined) {
  const lines: LogLine[] = [];
  const tracing = await startTracing({ otlp, privacy: 'plain' }, { version: '1.2.3', logger: loggerInto(lines) });
  return { tracing, lines };
}

it('a span is in the trace that a record names; what is no place in a trace is ignored, and goes no further', async () => {
  vi.stubEnv('OTEL_SERVICE_NAME', 'keymend-of-the-shop');
  const collector = await startCollector();
  const { tracing } = await started(`${collector.url}/`);
  const others = ['user:42', '', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`, `${PARENT}-more`, Buffer.from('x'), 7];
  const child = tracing!.begin('child', { ...of, parent: PARENT, links: [PARENT, ...others] });
  expect(child.traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
  child.end();
  for (const parent of others) {
    const root = tracing!.begin('root', { ...of, parent });
    expect(root.traceparent).not.toContain(TRACE);
    root.end({}, 'AWord');
  }
  await tracing!.close();
  await collector.close();
  const [first, ...roots] = collector.spans;
  expect(first).toMatchObject({ traceId: TRACE, parentSpanId: 'b7ad6b7169203331', links: [{ traceId: TRACE }] });
  for (const root of roots) expect(root).toMatchObject({ parentSpanId: '', attributes: { 'error.type': 'AWord' } });
  expect(roots).toHaveLength(others.length);
  expect(String(collector.bodies[0])).toContain('keymend-of-the-shop');
});

it('what a trace is not sampled for is not sampled here either, but its place goes on', async () => {
  const collector = await startCollector();
  const { tracing } = await started(collector.url);
  const span = tracing!.begin('child', { ...of, parent: PARENT.replace(/01$/, '00') });
  expect(span.traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
  span.end();
  await tracing!.close();
  await collector.close();
  expect(collector.spans).toEqual([]);
});

it('a collector that is away costs spans, a line and a few seconds at the end', async () => {
  const { tracing, lines } = await started(`http://127.0.0.1:${await freePort()}`);
  tracing!.begin('lost', of).end();
  await tracing!.close();
  expect(lines).toHaveLength(1);
  expect(lines[0]!.msg).toMatch(
    /^the collector http:\/\/127\.0\.0\.1:\d+\/v1\/traces takes no spans: .*spans are lost\.$/,
  );
});

it('a collector that never comes to an end costs a line and a few seconds, too', async () => {
  // Each byte begins the exporter's own timeout anew.
  const server = createServer((_request, response) => {
    const drip = setInterval(() => response.write('.'), 500);
    response.on('close', () => clearInterval(drip));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { tracing, lines } = await started(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  tracing!.begin('lost', of).end();
  await expect(within(10_000, tracing!.close())).resolves.toBeUndefined();
  server.closeAllConnections();
  server.close();
  expect(lines.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/takes no spans: no answer within 4 s\. Repairs go on; spans are lost\.$/),
  ]);
});

it('a collector whose refusal has no text is named with what there is: a code', async () => {
  const server = createServer((_request, response) => response.writeHead(401, '').end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const refusing = await started(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const away = await started(`http://collector.invalid:${await freePort()}`);
  const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }));
  vi.spyOn(dns, 'lookup').mockImplementation(((_name: string, _options: object, done: (...found: unknown[]) => void) =>
    process.nextTick(done, null, addresses)) as never);
  for (const { tracing } of [away, refusing]) tracing!.begin('lost', of).end();
  await Promise.all([away.tracing!.close(), refusing.tracing!.close()]);
  server.closeAllConnections();
  server.close();
  expect(away.lines[0]!.msg).toContain('takes no spans: ECONNREFUSED. Repairs go on');
  expect(refusing.lines[0]!.msg).toContain('takes no spans: HTTP 401. Repairs go on');
});

it('without a collector nothing is started', async () => {
  expect((await started(undefined)).tracing).toBeUndefined();
});

it('a failed write has no place in a trace where nobody traces, or where the tracer throws', () => {
  const { sent, recorded } = traceFailedWrites({ privacy: 'plain' });
  const write = {};
  sent(write);
  expect(recorded(failedWrite(), write)).toBeUndefined();
  const provider = new ProxyTracerProvider();
  vi.spyOn(provider, 'getTracer').mockReturnValue({
    startSpan: () => {
      throw new Error('a sampler of the application');
    },
    startActiveSpan: () => undefined as never,
  });
  trace.setGlobalTracerProvider(provider);
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  const guarded = guardedTracing(traceFailedWrites({ privacy: 'plain' }));
  expect(guarded.recorded(failedWrite(), write)).toBeUndefined();
  expect(warned).toHaveBeenCalledOnce();
});

it('an entry of an outbox has the place as a field, which is a header for whoever reads it', () => {
  const fields = outboxFields({ ...failedWrite(), traceparent: PARENT }).map((field) => Buffer.from(field as string));
  const { headers, value } = entryRecord('keymend:outbox', { id: '1-0', fields });
  expect(String(headers.traceparent)).toBe(PARENT);
  expect(String(value)).not.toContain(TRACE);
});
