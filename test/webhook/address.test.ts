import { describe, expect, it, test } from 'vitest';
import { isPrivate, privateOnly, publicOnly } from '../../src/webhook/address.js';

test.each([
  '127.0.0.1',
  '127.9.9.9',
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '169.254.169.254',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '0:0:0:0:0:ffff:a9fe:a9fe',
  '::ffff:169.254.169.254',
  '64:ff9b::a9fe:a9fe',
  'fe80::1',
  'fe80::1%eth0',
  'fc00::1',
  'fd00:ec2::254',
  'ff02::1',
  '2001:db8::1',
  '2002:7f00:1::1',
  '2001:0:1::1',
])('%s is private', (address) => {
  expect(isPrivate(address)).toBe(true);
});

test.each(['1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700:4700::1111', '::ffff:8.8.8.8', '::ffff:808:808'])(
  '%s is public',
  (address) => {
    expect(isPrivate(address)).toBe(false);
  },
);

describe('a name', () => {
  const resolved = (addresses: string[], all: boolean, only = publicOnly) =>
    new Promise<unknown>((resolve) => {
      const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
      only((_host, _options, callback) => callback(null, found))('name', { all }, (error, address) =>
        resolve(error ?? address),
      );
    });

  it('is connected to at the addresses that were checked', async () => {
    expect(await resolved(['1.1.1.1', '2606:4700::1'], false)).toBe('1.1.1.1');
    expect(await resolved(['1.1.1.1'], true)).toEqual([{ address: '1.1.1.1', family: 4 }]);
  });

  it('with one private address among others is refused', async () => {
    for (const all of [true, false]) {
      const refusal = await resolved(['1.1.1.1', '::ffff:10.0.0.1'], all);
      expect(refusal).toMatchObject({ name: 'ForbiddenAddress' });
    }
  });

  it('that is to be private is refused with one public address among others', async () => {
    expect(await resolved(['10.0.0.1', '::1'], false, privateOnly)).toBe('10.0.0.1');
    for (const all of [true, false]) {
      expect(await resolved(['10.0.0.1', '1.1.1.1'], all, privateOnly)).toMatchObject({ name: 'ForbiddenAddress' });
    }
  });

  it('without an address is refused', async () => {
    expect(await resolved([], true)).toBeInstanceOf(Error);
  });
});
