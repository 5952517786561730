/** The workflows as a worker takes them: one script of each kind, bundled when keymend is built. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger, type WorkflowBundle, type WorkflowBundlePath } from '@temporalio/worker';
import type { Logger } from 'pino';

/**
 * The bundler takes as long as the rest of a worker's start, so `scripts/build.js` calls it. The
 * failure converter is a part of what it makes: who encrypts texts of errors runs another script.
 * @returns a name in the folder of what was built
 */
export function bundleName(encryptsErrors: boolean): string {
  return encryptsErrors ? 'workflow-bundle-encrypting.js' : 'workflow-bundle.js';
}

const BUILT = new URL('../../', import.meta.url);
const WORKFLOWS = new URL('../../workflows/', import.meta.url);
/** For whoever encrypts payloads: texts of errors are payloads then, too. */
export const FAILURE_CONVERTER = fileURLToPath(new URL('../temporal/failure-converter.cjs', import.meta.url));
/** JavaScript once compiled. */
const LANGUAGE = extname(import.meta.url);

/**
 * The bundle that was built. One that is not of the workflows beside it, or of another SDK, never
 * runs: they are bundled now, and a line says so.
 * @param encryptsErrors texts of errors go through a codec
 * @throws what the bundler throws, where nothing was built
 */
export async function workflowCode(
  logger: Logger,
  encryptsErrors: boolean,
): Promise<WorkflowBundle | WorkflowBundlePath> {
  const built = fileURLToPath(new URL(bundleName(encryptsErrors), BUILT));
  if (!existsSync(built)) return bundleWorkflows(encryptsErrors);
  if (readFileSync(built, 'utf8').startsWith(firstLine(encryptsErrors))) return { codePath: built };
  logger.warn(`${built} was made of other workflows or of another SDK; they are bundled now, which takes seconds`);
  return bundleWorkflows(encryptsErrors);
}

/** From TypeScript beside TypeScript, from JavaScript once compiled. */
export async function bundleWorkflows(encryptsErrors = false): Promise<WorkflowBundle> {
  const { code } = await bundleWorkflowCode({
    ...(encryptsErrors && { failureConverterPath: FAILURE_CONVERTER }),
    workflowsPath: fileURLToPath(new URL(`index${LANGUAGE}`, WORKFLOWS)),
    logger: new DefaultLogger('WARN'),
  });
  return { code: mappedToItself(`${firstLine(encryptsErrors)}${code}`, bundleName(encryptsErrors)) };
}

/** What a bundle is made of. */
function firstLine(encryptsErrors: boolean): string {
  const hash = createHash('sha256');
  const require = createRequire(import.meta.url);
  for (const part of ['workflow', 'worker', 'common'])
    hash.update(`${part} ${(require(`@temporalio/${part}/package.json`) as { version: string }).version}\n`);
  for (const name of readdirSync(WORKFLOWS).sort())
    if (extname(name) === LANGUAGE) hash.update(`${name}\n`).update(readFileSync(new URL(name, WORKFLOWS)));
  if (encryptsErrors) hash.update(readFileSync(FAILURE_CONVERTER));
  return `// ${hash.digest('hex')}\n`;
}

const SOURCE_MAP = '//# sourceMappingURL=data:';

/**
 * With a source map that says of each line that it is that line. The SDK wants one, and looks up
 * ten places in it at every promise of a workflow: among those of a real one that is a tenth of
 * what a key costs. It would also tell where this was built.
 */
function mappedToItself(bundle: string, name: string): string {
  const at = bundle.lastIndexOf(SOURCE_MAP);
  const code = at < 0 ? bundle : bundle.slice(0, at);
  const lines = code.split('\n').length;
  // Line by line, each beginning where the one before it does, one line down.
  const mappings = `AAAA;${'AACA;'.repeat(lines - 1)}`;
  const map = { version: 3, file: name, sources: [name], names: [], mappings };
  return `${code}${SOURCE_MAP}application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}\n`;
}
