/** Commands that keymend does not know: what they do the source is asked. */
import { dirname, join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createDualWriter, type DualWriter } from '../../src/dual-write/dual-writer.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import { provideRedis74 } from '../../src/stack/programs/index.js';
import { describeWith } from '../support/services.js';
import { type Bed, settled, startBed } from './bed.js';
import { repair } from './repair.js';

await describeWith('a DualWriter, of servers with RedisJSON and RedisBloom', provideRedis74, (binary) => {
  let bed: Bed;
  beforeAll(async () => {
    const modules = ['rejson.so', 'redisbloom.so'].flatMap((file) => ['--loadmodule', join(dirname(binary), file)]);
    bed = await startBed(modules, modules, { binary });
  });
  afterEach(() => bed.reset());
  afterAll(() => bed?.stop());

  const asked = async (name: string) => {
    const stats = await bed.source.client.info('commandstats');
    return Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  };

  /** What a record says of the write. */
  const told = () => bed.sink.records.map(({ key, command, members, outcome }) => [key, command, members, outcome]);

  it.each([
    [{ protocol: 2 }],
    [{ protocol: 3 }],
    [{ protocol: 3, replyMapping: 'resp3' }],
    [{ enableAutoPipelining: true }],
  ] as const)('passes reads and records writes for the whole of their keys (%o)', async (source) => {
    const writer = await bed.writer({ source });
    expect(await writer.call('JSON.SET', 'doc', '$', '{"a":1}')).toBe('OK');
    expect(await writer.call('JSON.GET', 'doc', '$.a')).toBe('[1]');
    await writer.call('JSON.MSET', 'm1', '$', '1', 'm2', '$', '2');
    expect(await writer.call('BF.ADD', 'filter', 'x')).toBeTruthy();
    await settled(writer);
    expect(told()).toEqual([
      ['doc', 'JSON.SET', undefined, 'unknown'],
      ['m1', 'JSON.MSET', undefined, 'unknown'],
      ['m2', 'JSON.MSET', undefined, 'unknown'],
      ['filter', 'BF.ADD', undefined, 'unknown'],
    ]);
    await repair(bed, bed.sink.records);
    expect(await bed.target.client.call('JSON.MGET', 'doc', 'm1', 'm2', '$')).toEqual(['[{"a":1}]', '[1]', '[2]']);
    expect(await bed.target.client.call('BF.EXISTS', 'filter', 'x')).toBe(1);
  });

  it.each<[string, (writer: DualWriter) => Promise<unknown>]>([
    ['a command', (writer) => writer.call('JSON.NUMINCRBY', 'doc', '$..n', '1e308')],
    ['a command of a pipeline', (writer) => writer.pipeline().call('JSON.NUMINCRBY', 'doc', '$..n', '1e308').exec()],
    ['a command of a transaction', (writer) => writer.multi().call('JSON.NUMINCRBY', 'doc', '$..n', '1e308').exec()],
    ['one of the parts of a command', (writer) => writer.call('CMS.INCRBY', 'sketch', 'x', '1', 'x', '4294967295')],
  ])('records %s that answers with an error, and has done a part of its work', async (_title, write) => {
    const writer = await bed.writer();
    for (const { client } of [bed.source, bed.target]) {
      await client.call('JSON.SET', 'doc', '$', '{"n":1,"in":{"n":1e308}}');
      await client.call('CMS.INITBYDIM', 'sketch', '10', '2');
    }
    const state = async ({ client }: Bed['source']) => [
      await client.call('JSON.GET', 'doc'),
      await client.call('CMS.QUERY', 'sketch', 'x'),
    ];
    const before = await state(bed.source);
    const outcome = await write(writer).catch((error: unknown) => [error]);
    expect((outcome as unknown[]).flat().some((part) => part instanceof Error)).toBe(true);
    expect(await state(bed.source)).not.toEqual(before);
    await settled(writer);
    await repair(bed, bed.sink.records);
    expect(await state(bed.target)).toEqual(await state(bed.source));
  });

  it.each(['200000000', '1e9', '0x7fffffff', 'Infinity', '-1', 'x'])(
    'takes a number in the line of such a command for no more than what is there (%s)',
    async (number) => {
      const writer = await bed.writer();
      for (const line of ['CMS.MERGE to # a b', 'TDIGEST.MERGE to # a b', 'BF.RESERVE f 0.01 #x', 'TOPK.ADD #']) {
        const [name = '', ...args] = line.replace('#', number).split(' ');
        const error = await writer.call(name, ...args).catch((reason: Error) => reason.message);
        expect(error, line).toBe(await bed.source.client.call(name, ...args).catch((reason: Error) => reason.message));
      }
    },
  );

  it('keeps the order of what is sent while the source is asked', async () => {
    const writer = await bed.writer();
    const replies = await Promise.all([
      writer.set('k', '1'),
      writer.call('JSON.SET', 'doc', '$', '1'),
      writer.set('k', '2'),
      writer.pipeline().call('JSON.NUMINCRBY', 'doc', '$', '1').get('k').exec(),
      writer.multi().call('JSON.NUMINCRBY', 'doc', '$', '1').set('k', '3').exec(),
      writer.call('JSON.GET', 'doc'),
      writer.get('k'),
    ]);
    expect(replies).toMatchObject([
      'OK',
      'OK',
      'OK',
      [
        [null, '[2]'],
        [null, '2'],
      ],
      [
        [null, '[3]'],
        [null, 'OK'],
      ],
      '3',
      '3',
    ]);
    await settled(writer);
    expect(await bed.target.client.get('k')).toBe('3');
  });

  it.each([
    ['a pipeline', (writer: DualWriter) => writer.pipeline()],
    ['a transaction', (writer: DualWriter) => writer.multi()],
  ])('takes it in %s even before the source is connected', async (_title, begin) => {
    const source = new Redis(bed.source.port, '127.0.0.1', { lazyConnect: true });
    const target = new Redis(bed.target.port, '127.0.0.1', { ...mirrorOptions(), lazyConnect: true });
    const writer = createDualWriter({ ...bed.names, source, target, records: bed.sink, onError: () => {} });
    try {
      const replies = await Promise.all([
        begin(writer).set('k', '1').call('JSON.SET', 'doc', '$', '1').exec(),
        writer.set('k', '2'),
        writer.call('JSON.GET', 'doc'),
      ]);
      const done = [null, 'OK'];
      expect(replies).toEqual([[done, done], 'OK', '1']);
      expect(await bed.source.client.get('k')).toBe('2');
      await settled(writer);
      expect(told()).toContainEqual(['doc', 'JSON.SET', undefined, 'unknown']);
    } finally {
      source.disconnect();
      target.disconnect();
    }
  });

  it('asks no question inside of a transaction of the application', async () => {
    const writer = await bed.writer();
    await writer.multi({ pipeline: false });
    await writer.set('k', '1');
    await expect(writer.call('NOSUCH.SET', 'doc')).rejects.toThrow(/send it again/);
    await expect(writer.exec()).rejects.toThrow(/EXECABORT/);
    await writer.multi({ pipeline: false });
    await writer.set('k', '1');
    expect(await writer.exec()).toEqual([[null, 'OK']]);
  });

  it('holds back no half of a pipeline', async () => {
    const source = new Redis(bed.source.port, '127.0.0.1', { lazyConnect: true });
    const target = new Redis(bed.target.port, '127.0.0.1', { ...mirrorOptions(), lazyConnect: true });
    const writer = createDualWriter({ ...bed.names, source, target, records: bed.sink, onError: () => {} });
    try {
      // Until its EXEC, which is in the pipeline, nothing can be asked.
      const begun = writer.multi({ pipeline: false });
      const replies = writer.pipeline().set('k', '1').call('EXEC').call('JSON.SET', 'doc', '$', '1').get('k').exec();
      await begun;
      expect((await replies)!.slice(1)).toMatchObject([
        [null, ['OK']],
        [{ message: expect.stringContaining('JSON.SET is refused') }],
        [null, '1'],
      ]);
    } finally {
      source.disconnect();
      target.disconnect();
    }
  });

  it('asks once', async () => {
    const writer = await bed.writer();
    await writer.call('JSON.SET', 'doc', '$', '1');
    const before = await asked('command\\|info');
    for (let turn = 0; turn < 10; turn++) await writer.call('JSON.NUMINCRBY', 'doc', '$', '1');
    expect(await asked('command\\|info')).toBe(before);
  });

  it('announces such a write in transactional mode', async () => {
    const writer = await bed.writer({ more: { transactional: {} } });
    bed.sink.broken = true;
    await writer.call('JSON.SET', 'doc', '$', '1');
    await settled(writer);
    const [[, fields] = []] = await bed.source.client.xrange('keymend:outbox', '-', '+');
    expect(fields?.join(' ')).toContain('"key":"doc"');
  });

  it('gives the server’s own error for a command that nobody knows', async () => {
    const writer = await bed.writer();
    const plain = await bed.source.client.call('NOSUCH.SET', 'k', 'v').catch(String);
    expect(await writer.call('NOSUCH.SET', 'k', 'v').catch(String)).toBe(plain);
    expect(await writer.set('k', 'v')).toBe('OK');
  });

  it('refuses a key of keymend together with others', async () => {
    const writer = await bed.writer();
    const both = writer.call('JSON.MSET', 'keymend:a', '$', '1', 'b', '$', '1');
    await expect(both).rejects.toThrow(/JSON\.MSET is refused on a DualWriter: of its keys some begin with keymend:/);
  });

  it('refuses it while the source does not tell, and goes on', async () => {
    await bed.source.client.call('ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '+@all', '-command');
    try {
      const writer = await bed.writer({ source: { username: 'app', password: 'pw' } as object });
      const [refusal, reply] = await Promise.allSettled([
        writer.call('JSON.SET', 'doc', '$', '1'),
        writer.set('k', 'v'),
      ]);
      expect(String((refusal as PromiseRejectedResult).reason)).toMatch(/JSON\.SET is refused.*does not tell/);
      expect(reply).toMatchObject({ value: 'OK' });
      expect(await bed.source.client.exists('doc')).toBe(0);
    } finally {
      await bed.source.client.call('ACL', 'DELUSER', 'app');
    }
  });
});
