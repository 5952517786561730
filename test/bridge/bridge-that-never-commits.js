/**
 * A bridge in a process of its own that hangs between signal and commit, so that it can be killed
 * there.
 */
import { Client, Connection } from '@temporalio/client';
import { pino } from 'pino';
import { startBridge } from '../../dist/src/bridge/bridge.js';

const { config, address } = JSON.parse(process.argv[2]);
const { workflow } = new Client({ connection: await Connection.connect({ address }) });

await startBridge({
  config,
  logger: pino({ level: 'silent' }),
  client: {
    withDeadline: (deadline, run) => workflow.withDeadline(deadline, run),
    async signalWithStart(...signal) {
      await workflow.signalWithStart(...signal);
      process.send('signalled');
      await new Promise(() => {});
    },
  },
});
