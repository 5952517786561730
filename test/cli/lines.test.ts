import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { linesOf } from '../../src/cli/bulk/lines.js';

const folder = mkdtempSync(join(tmpdir(), 'keymend-lines-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function read(content: Buffer | string): Promise<string[]> {
  const path = join(folder, 'keys');
  writeFileSync(path, content);
  const found: string[] = [];
  for await (const { text } of linesOf(path)) found.push(text);
  return found;
}

it('reads keys one a line, whatever ends the lines, and leaves empty ones out', async () => {
  expect(await read('a\nb b\r\n\n  c\nlast')).toEqual(['a', 'b b', '  c', 'last']);
  expect(await read('')).toEqual([]);
});

it('takes the mark of UTF-8 that an editor puts in front for no part of the first key, and for one of any other', async () => {
  expect(await read('\ufeffa\n\ufeffb')).toEqual(['a', '\ufeffb']);
});

it('reads lines that lie across the pieces in which a file is read', async () => {
  const keys = Array.from({ length: 20_000 }, (_, index) => `key:${index}:é`);
  expect(await read(keys.join('\n'))).toEqual(keys);
});

it('takes no bytes for text, which would be another key', async () => {
  const bytes = Buffer.concat([Buffer.from('a\n'), Buffer.from([0xff, 0xfe]), Buffer.from('\n')]);
  await expect(read(bytes)).rejects.toThrow(/keys, line 2 is not UTF-8; write keys as base64, with --encoding base64/);
});

it('says in one line that a file is not there', async () => {
  const reading = linesOf(join(folder, 'none')).next();
  await expect(reading).rejects.toThrow(/none: cannot be read \(ENOENT\); check the path$/);
});
