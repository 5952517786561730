/** An outbox on a Redis of its own, and intakes that read it. */
import { ulid } from 'ulid';
import { onTestFinished } from 'vitest';
import type { BatchHandler, IntakeRecord } from '../../src/events/intake.js';
import { createOutboxIntake, type OutboxIntake } from '../../src/outbox/intake.js';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type LogLine, loggerInto } from './bridge-bed.js';

export const STREAM = 'keymend:outbox';
export const GROUP = 'keymend-bridge';

/** Cleans up after the test that calls it. @param binary another redis-server */
export async function streamBed(binary?: string) {
  const options = binary === undefined ? {} : { binary };
  let server = await startRedis([], options);
  const intakes: OutboxIntake[] = [];
  const logs: LogLine[] = [];
  const gaps: NoticedGap[] = [];
  onTestFinished(async () => {
    await Promise.all(intakes.map((intake) => intake.stop()));
    await server.stop();
  });

  const bed = {
    logs,
    gaps,
    warnings: () => logs.filter(({ level }) => level >= 40).map(({ msg }) => msg),
    server: (): RedisServer => server,
    redis: () => server.client,

    /** The same address again, without its data. */
    async restart(pause: () => Promise<void> = async () => {}): Promise<void> {
      const { port } = server;
      await server.stop();
      await pause();
      server = await startRedis([], { ...options, port });
    },

    /** @param kept resolves when a gap is */
    start(handle: BatchHandler, kept = async () => {}): OutboxIntake {
      const source = { endpoint: { url: server.url }, name: 'source of link l', links: ['l'] };
      const onGap = async (gap: NoticedGap) => {
        gaps.push(gap);
        await kept();
      };
      const reading = { source, key: STREAM, group: GROUP, handle, putsAside: true, onGap, logger: loggerInto(logs) };
      const intake = createOutboxIntake(reading);
      intakes.push(intake);
      intake.start();
      return intake;
    },

    /** @returns the IDs of the entries, one for each value */
    async add(...values: string[]): Promise<string[]> {
      const ids: string[] = [];
      for (const value of values) ids.push((await server.client.xadd(STREAM, '*', 'key', 'k', 'value', value))!);
      return ids;
    },

    /** Entries in the stream, and those assigned to somebody, at one moment. */
    async left(): Promise<{ entries: number; pending: number }> {
      const replies = await server.client.multi().xlen(STREAM).xpending(STREAM, GROUP).exec();
      const [entries, [pending]] = replies!.map(([, reply]) => reply) as [number, [number]];
      return { entries, pending };
    },

    /** Reads as a consumer that then is never heard of again. */
    async readAsOneThatDies(count: number): Promise<void> {
      await server.client.xgroup('CREATE', STREAM, GROUP, '0').catch(() => {});
      await server.client.xreadgroup('GROUP', GROUP, `dead-${ulid()}`, 'COUNT', count, 'STREAMS', STREAM, '>');
    },

    async consumers(): Promise<string[]> {
      const consumers = (await server.client.xinfo('CONSUMERS', STREAM, GROUP)) as string[][];
      return consumers.map((fields) => fields[1]!);
    },
  };
  return bed;
}

/** A handler that accepts everything and remembers it. */
export function accepting(seen: string[]): BatchHandler {
  return async ({ records, accepted }) => {
    for (const record of records) {
      seen.push(text(record));
      accepted(record);
    }
  };
}

export function text({ value }: IntakeRecord): string {
  return String(value);
}
