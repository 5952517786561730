/**
 * The metrics of Temporal's SDK. Its core tells them on a port of its own, without a token: so that
 * is a free one on loopback, from where they go to whoever asks for ours.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';

/** Less than the patience of whoever scrapes us. */
const TIMEOUT_MS = 2_000;

/** @returns what its runtime takes as `telemetryOptions.metrics`, and how to ask for their text */
export async function sdkMetrics() {
  const bindAddress = `127.0.0.1:${await freePort()}`;
  return {
    // The names that Prometheus wants: a unit at the end, seconds, and `_total` for what counts.
    options: {
      prometheus: { bindAddress, countersTotalSuffix: true, unitSuffix: true, useSecondsForDurations: true },
    },
    async text(): Promise<string> {
      const response = await fetch(`http://${bindAddress}/metrics`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!response.ok) throw new Error(`it answers ${response.status}`);
      return response.text();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
