/**
 * A relay in a process of its own that hangs between Kafka's acknowledgement and its own to the
 * outbox, so that it can be killed there.
 */
import { pino } from 'pino';
import { startRelay } from '../../dist/src/bridge/relay.js';
import { ConsumerGroup } from '../../dist/src/outbox/consumer-group.js';

ConsumerGroup.prototype.finish = (ids) => {
  process.send(ids.length);
  return new Promise(() => {});
};
startRelay(JSON.parse(process.argv[2]), pino({ level: 'silent' }), { async open() {} });
