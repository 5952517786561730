import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { StackError } from '../../src/stack/index.js';
import { cached, firstWay, noWay, type Provision } from '../../src/stack/programs/provision.js';
import { scratchFolder, silent } from './scratch.js';

function provisionIn(cache: string): Provision {
  return { environment: { XDG_CACHE_HOME: cache }, report: silent };
}

describe('the cache of programs', () => {
  test('fetches an entry once, also for two that ask at the same time', async () => {
    const provision = provisionIn(scratchFolder());
    let fetches = 0;
    const fill = async (folder: string) => {
      fetches++;
      writeFileSync(join(folder, 'program'), '');
    };
    const [one, other] = await Promise.all([cached(provision, 'a/1', fill), cached(provision, 'a/1', fill)]);
    expect(fetches).toBe(1);
    expect(one).toBe(other);
    expect(readdirSync(one)).toEqual(['program']);
  });

  test('has no entry after a fetch that failed, and fetches again', async () => {
    const cache = scratchFolder();
    const half = async (folder: string) => {
      writeFileSync(join(folder, 'half'), '');
      throw new Error('network gone');
    };
    await expect(cached(provisionIn(cache), 'a/1', half)).rejects.toThrow('network gone');
    expect(readdirSync(join(cache, 'keymend', 'a'))).toEqual([]);
    const entry = await cached(provisionIn(cache), 'a/1', async () => {});
    expect(readdirSync(entry)).toEqual([]);
  });

  test('does away with what a killed process left half fetched', async () => {
    const cache = scratchFolder();
    const left = join(cache, 'keymend', 'a', '1.draft-xyz');
    mkdirSync(left, { recursive: true });
    await cached(provisionIn(cache), 'a/1', async () => {});
    expect(existsSync(left)).toBe(false);
  });

  test('that cannot be written is one clear line', async () => {
    const notAFolder = join(scratchFolder(), 'file');
    writeFileSync(notAFolder, '');
    const attempt = cached(provisionIn(notAFolder), 'a/1', async () => {});
    await expect(attempt).rejects.toThrow(StackError);
    await expect(attempt).rejects.toThrow(/can't be written .*XDG_CACHE_HOME/);
  });
});

describe('ways to a program', () => {
  const provision = provisionIn('unused');

  test('are gone in order, and only until one leads there', async () => {
    const gone: string[] = [];
    const way = (name: string, result: () => string) => ({
      name,
      attempt: async () => {
        gone.push(name);
        return result();
      },
    });
    const ways = [way('PATH', () => noWay('not there')), way('download', () => 'found'), way('build', () => 'built')];
    expect(await firstWay(provision, 'It', 'Get it.', ways)).toBe('found');
    expect(gone).toEqual(['PATH', 'download']);
  });

  test('say in one line why one is left for the next, unless it only looks at what is there', async () => {
    const lines: string[] = [];
    const ways = [
      { name: 'PATH', looks: true as const, attempt: async () => noWay('not there') },
      { name: 'download', attempt: async () => noWay('no network') },
      { name: 'build', attempt: async () => 'built' },
    ];
    await firstWay({ ...provision, report: (line) => lines.push(line) }, 'It', 'Get it.', ways);
    expect(lines).toEqual(['It: not by download: no network; trying build']);
  });

  test('that all fail make one line with what is missing, why, and what to do', async () => {
    const ways = [
      { name: 'PATH', attempt: async () => noWay('not there') },
      { name: 'download', attempt: () => Promise.reject(new Error('example.org: no answer\n  at request()')) },
    ];
    await expect(firstWay(provision, 'It', 'Install it, or say where it runs.', ways)).rejects.toThrow(
      new StackError(
        "It is missing and can't be fetched here (PATH: not there; download: example.org: no answer). Install it, or say where it runs.",
      ),
    );
  });

  test('end when the result is not wanted any more', async () => {
    const reason = new StackError('another service is missing');
    const ways = [{ name: 'build', attempt: () => Promise.reject(new Error('stopped')) }];
    const attempt = firstWay({ ...provision, signal: AbortSignal.abort(reason) }, 'It', '', ways);
    await expect(attempt).rejects.toBe(reason);
  });
});
