/** What the bridge makes of a record about a key of a cache. */
import { expect, test } from 'vitest';
import { partsOf } from '../../src/bridge/group.js';
import { signalWithStartOptions } from '../../src/bridge/key-signal.js';
import { parseConfig } from '../../src/config.js';
import { recordOf } from '../support/keymend.js';

const MAPPING = { key: 'n:{id}', query: 'SELECT name FROM users WHERE id = :id', value: 'json' };
const { links } = parseConfig(
  JSON.stringify({
    kafka: { brokers: ['h:1'] },
    links: [
      {
        name: 'east-to-west',
        source: { mysql: { url: 'mysql://db/shop' } },
        target: { url: 'redis://b' },
        mappings: [MAPPING],
      },
    ],
  }),
  'the test',
  {},
);

test('a delete that was refused may be followed by a reader, so its key is looked at now and behind settle', () => {
  const { value } = recordOf('n:1', { command: 'DEL', outcome: 'refused' });
  const position = { topic: 't', partition: 0, offset: '0', timestamp: '0' };
  const record = { key: null, value: Buffer.from(value), headers: {}, position };
  const [part] = partsOf([record], new Map(links.map((link) => [link.name, link])));
  const [group] = part!.items;
  if (group?.kind !== 'key') throw new Error('it was not taken');
  const events = group.writes.map(({ event }) => event);
  expect(events).toMatchObject([{ outcome: 'unknown', receivedAt: expect.any(String) }]);
  const start = signalWithStartOptions(group, events, 'keymend', Date.now());
  expect(start.startDelay).toBeUndefined();
  expect(start.args[0]).toMatchObject({ policy: { looksTwice: true } });
});
