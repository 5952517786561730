/**
 * A span for each activity, in the trace of the failed write that it is for. The place in the trace
 * comes with what the activity is asked for, as a field: without an interceptor in workflows, whose
 * histories must not depend on whether anybody traces.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import type { EscalateRequest, ReconcileReply, ReconcileRequest } from '../../workflows/activities.js';
import type { BatchReply, BatchRequest } from '../../workflows/batch-messages.js';
import type { Endpoint, LinkConfig } from '../config.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { parseRedisUrl } from '../redis-url.js';
import type { Tracing } from '../telemetry/tracing.js';

export function activitySpans(tracing: Tracing, links: readonly LinkConfig[]): ActivityInterceptorsFactory {
  const servers = new Map(links.map(({ name, target }) => [name, serverOf(target)]));
  return ({ info }) => ({
    inbound: {
      async execute(input, next) {
        const { traceparent, link, key } = askedOf(input.args[0]);
        const span = tracing.begin(info.activityType, {
          kind: 'internal',
          parent: traceparent,
          attributes: {
            ...(link !== undefined && { 'keymend.link': link, ...servers.get(link) }),
            ...(key !== undefined && { 'keymend.key': tracing.shown(key) }),
            'keymend.attempt': info.attempt,
            ...(info.workflowExecution && { 'keymend.run_id': info.workflowExecution.runId }),
          },
        });
        try {
          const reply = await next(input);
          span.end(endOf(reply));
          return reply;
        } catch (error) {
          span.end({}, error instanceof ApplicationFailure ? (error.type ?? error.name) : (error as Error).name);
          throw error;
        }
      },
    },
  });
}

/** What the activities of a key and of a batch are asked for has these in its own places. */
interface Asked extends Partial<Pick<ReconcileRequest, 'link' | 'key' | 'encoding' | 'traceparent'>> {
  readonly event?: EscalateRequest['event'];
  readonly part?: BatchRequest['part'];
}

function askedOf(request: unknown) {
  const asked: Asked = typeof request === 'object' && request !== null ? request : {};
  const { key, encoding = 'utf8', link } = asked.event ?? asked;
  return {
    link: typeof link === 'string' ? link : undefined,
    key: typeof key === 'string' ? keyBytes({ key, encoding }) : undefined,
    traceparent: asked.traceparent ?? asked.event?.traceparent ?? asked.part?.traceparent,
  };
}

/** What is known of an end: words and numbers of ours. */
function endOf(reply: unknown) {
  const { outcome, repaired, failed } = (reply ?? {}) as Partial<ReconcileReply & BatchReply>;
  return {
    ...(typeof outcome === 'string' && { 'keymend.outcome': outcome }),
    ...(Array.isArray(repaired) && Array.isArray(failed) && { 'keymend.repaired': repaired.length }),
  };
}

/** Of several servers none is that of the key. */
function serverOf(target: Endpoint) {
  if (!('url' in target)) return { 'db.system.name': 'redis' };
  const { host, port = 6379, path } = parseRedisUrl(target.url);
  const place = path === undefined ? { 'server.address': host, 'server.port': port } : { 'server.address': path };
  return { 'db.system.name': 'redis', ...place };
}
