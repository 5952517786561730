/** A call of Temporal's client that is tried again after its connection was closed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { startProxy } from '../../src/stack/proxy.js';
import { connectClient, temporalTarget } from '../../src/temporal/connect.js';
import { ENVIRONMENT } from '../support/keymend.js';
import { stack } from '../support/services.js';

const CONFIG =
  'kafka: { brokers: [h:1] }\nlinks: [{ name: l, source: { url: redis://a }, target: { url: redis://b } }]';

it.each([0, 20, 100, 250, 600])(
  'fails for who made it, and does not end the process (closed after %i ms)',
  async (ms) => {
    const [host, port] = stack().temporal.address.split(':') as [string, string];
    const proxy = await startProxy({ target: { host, port: Number(port) } });
    onTestFinished(() => proxy.close());
    const target = temporalTarget(parseConfig(CONFIG, 'test', {}), {
      ...ENVIRONMENT,
      TEMPORAL_ADDRESS: `127.0.0.1:${proxy.port}`,
    });
    const client = await connectClient(target);
    proxy.cut();
    const outcome = client.workflow
      .getHandle('none')
      .describe()
      .catch((error: Error) => String(error.cause ?? error));
    // Not to wait for something: the moment is what differs, and each of them is right.
    await sleep(ms);
    await client.connection.close();
    expect(await outcome).toContain('Channel has been shut down');
  },
);
