/** Payloads that only keymend can read. */
import { randomBytes } from 'node:crypto';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { type CodecKey, payloadCodec } from '../../src/temporal/codec.js';

const key = (id: string, bytes = 32): CodecKey => ({ id, secret: randomBytes(bytes).toString('base64') });
const [OLD, NEW] = [key('old'), key('new')];
const VALUE = { key: 'canary', n: [1, null] };
const payload = () => defaultPayloadConverter.toPayload(VALUE);
const readBack = (payload: Payload | undefined) => defaultPayloadConverter.fromPayload<unknown>(payload!);

describe('a payload', () => {
  it('is read by whoever has its key, and shows nothing else than which', async () => {
    const codec = payloadCodec([OLD]);
    const [one, other] = await codec.encode([payload(), payload()]);
    const metadata = Object.entries(one!.metadata!).map(([name, bytes]) => [name, Buffer.from(bytes).toString()]);
    expect(metadata).toEqual([
      ['encoding', 'binary/encrypted'],
      ['encryption-key-id', 'old'],
    ]);
    expect(Buffer.from(one!.data!).includes('canary')).toBe(false);
    // Equal ones do not look so.
    expect(one!.data).not.toEqual(other!.data);
    expect((await codec.decode([one!, other!])).map(readBack)).toEqual([VALUE, VALUE]);
  });

  it('is read after a rotation, and a new one has the first key', async () => {
    const before = await payloadCodec([OLD]).encode([payload()]);
    const rotated = payloadCodec([NEW, OLD]);
    const after = await rotated.encode([payload()]);
    expect((await rotated.decode([...before, ...after])).map(readBack)).toEqual([VALUE, VALUE]);
    await expect(payloadCodec([OLD]).decode(after)).rejects.toThrow(
      /^a payload is encrypted with the key "new", which is not in temporal\.codec\.keys; add it behind the others, and start this process again$/,
    );
  });

  it('that nobody encrypted is taken as it is', async () => {
    expect(await payloadCodec([OLD]).decode([payload()])).toEqual([payload()]);
  });

  it('with another secret of the same name, or changed on its way, is one line', async () => {
    const [encrypted] = await payloadCodec([OLD]).encode([payload()]);
    const says = /^a payload can't be decrypted with the key "old" of temporal\.codec\.keys: its secret is not the one/;
    await expect(payloadCodec([{ ...NEW, id: 'old' }]).decode([encrypted!])).rejects.toThrow(says);
    const changed = Buffer.from(encrypted!.data!);
    changed[20]! ^= 1;
    await expect(payloadCodec([OLD]).decode([{ ...encrypted!, data: changed }])).rejects.toThrow(says);
    for (const bytes of [0, 4, 5, 12, 27, 28]) {
      const short = { ...encrypted!, data: changed.subarray(0, bytes) };
      await expect(payloadCodec([OLD]).decode([short])).rejects.toThrow(says);
    }
  });
});

it.each([
  ['too short', key('k', 31)],
  ['no base64', { id: 'k', secret: 'not base64, but long enough to be one of them' }],
])('a key that is %s is one line, without the secret', (_what, wrong) => {
  expect(() => payloadCodec([wrong])).toThrow(
    /^temporal\.codec\.keys: the secret of "k" is not 32 bytes as base64; make one: openssl rand -base64 32$/,
  );
});
