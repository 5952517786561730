/** How the long-running verbs end. */
import pino from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runServices, type Service } from '../../src/cli/services/service.js';
import type { Config } from '../../src/config.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
const before = new Map(SIGNALS.map((signal) => [signal, process.listeners(signal)]));
const exit = vi.spyOn(process, 'exit');
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  exit.mockReset().mockImplementation((() => {}) as never);
});
afterEach(() => {
  vi.useRealTimers();
  for (const signal of SIGNALS) for (const listener of own(signal)) process.off(signal, listener);
});

const own = (signal: (typeof SIGNALS)[number]) =>
  process.listeners(signal).filter((listener) => !before.get(signal)!.includes(listener));

/** Of this process it must not end more than these services. */
function sigterm(): void {
  for (const listener of own('SIGTERM')) listener('SIGTERM');
}

/** @param stop how the service stops */
async function running(stop: () => Promise<void>) {
  const lines: string[] = [];
  const logger = pino({}, { write: (line: string) => lines.push(JSON.parse(line).msg) });
  const service: Service = { name: 'worker', finished: new Promise(() => {}), isReady: () => true, stop };
  const config = {} as Config;
  const ended = runServices({ config, temporal: {} as never, logger }, [async () => service]);
  await vi.advanceTimersByTimeAsync(0);
  return { lines, ended };
}

test('a service that hangs while it stops ends with its process after 25 s, with an error', async () => {
  let stopped = () => {};
  const { lines, ended } = await running(
    () =>
      new Promise((resolve) => {
        stopped = resolve;
      }),
  );
  sigterm();
  await vi.advanceTimersByTimeAsync(24_999);
  expect(exit).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(exit.mock.calls).toEqual([[1]]);
  expect(lines).toEqual(['stopping', expect.stringMatching(/^not stopped in time; /)]);
  stopped();
  await ended;
});

test('one that stops in time ends without an error, also where a connection still hangs', async () => {
  const { lines, ended } = await running(async () => {});
  sigterm();
  await ended;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(exit.mock.calls).toEqual([[]]);
  expect(lines).toEqual(['stopping']);
});
