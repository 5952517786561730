import { execFile } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What was built, in a folder of its own that a test may change. */
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'keymend-built-'));
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a worker of that folder would run, and what it says of it. */
async function codeOf(encryptsErrors = false): Promise<{ code: object; lines: string[] }> {
  const { href } = pathToFileURL(join(folder, 'dist/src/worker/workflow-code.js'));
  const { workflowCode } = (await import(href)) as typeof import('../../src/worker/workflow-code.js');
  const lines: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  return { code: await workflowCode(logger, encryptsErrors), lines };
}

const bundled = (name: string) => ({ code: { codePath: join(folder, 'dist', name) }, lines: [] });
const ANEW = { code: { code: expect.stringContaining('reconcileKey') } };

it('a worker takes the workflows as they were bundled, with a codec or without', async () => {
  expect(await codeOf()).toEqual(bundled('workflow-bundle.js'));
  expect(await codeOf(true)).toEqual(bundled('workflow-bundle-encrypting.js'));
});

it('it bundles them anew once what they are made of has changed', async () => {
  appendFileSync(join(folder, 'dist/src/temporal/failure-converter.cjs'), '// since it was bundled\n');
  expect(await codeOf()).toEqual(bundled('workflow-bundle.js'));
  const line = expect.stringMatching(/workflow-bundle-encrypting\.js was made of other workflows or of another SDK/);
  expect(await codeOf(true)).toEqual({ ...ANEW, lines: [line] });
  appendFileSync(join(folder, 'dist/workflows/policy.js'), 'export const CHANGED = "since it was bundled";\n');
  const { code, lines } = await codeOf();
  expect(code).toEqual(ANEW.code);
  expect(lines).toEqual([expect.stringMatching(/workflow-bundle\.js was made of other workflows or of another SDK/)]);
});

it('the package has both bundles', async () => {
  const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], {
    cwd: ROOT,
  });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(expect.arrayContaining(['dist/workflow-bundle.js', 'dist/workflow-bundle-encrypting.js']));
});
