/**
 * The stack's code as a program of its own, for tests that kill it or run it several times at once.
 */
import { execFileSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Compiles a module of `src/stack/` and what it imports into `folder`, beside a program of this
 * text, which finds it under `./src/stack/`.
 * @returns the path of the program
 */
export function compileProgram(folder: string, module: string, text: string): string {
  symlinkSync(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const program = join(folder, 'program.js');
  writeFileSync(program, text);
  const compiler = join(REPOSITORY, 'node_modules', '.bin', 'tsc');
  const settings = ['--module', 'nodenext', '--target', 'es2023', '--skipLibCheck', '--strict', '--types', 'node'];
  const files = ['--rootDir', REPOSITORY, '--outDir', folder, join(REPOSITORY, 'src', 'stack', module)];
  execFileSync(compiler, ['--ignoreConfig', ...settings, ...files], { cwd: REPOSITORY });
  return program;
}
