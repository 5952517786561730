/**
 * The last words of a test run, for people and machines alike: what failed, with its reason, a line
 * each, and how many. In CI a skipped test fails the run.
 */
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, TestModule } from 'vitest/node';

/** Of a reason; more is further up. */
const MOST_CHARACTERS = 400;

interface Reason {
  readonly message?: string;
  readonly stacks?: readonly { readonly file: string; readonly line: number }[];
}

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly Reason[]): void {
    const count = { passed: 0, failed: 0, skipped: 0 };
    const failed = (module: string, reasons: readonly Reason[], name = 'outside of a test') =>
      process.stdout.write(`\nfailed: ${module}: ${name}${reasons.map(inALine).join('')}`);
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state, errors = [] } = test.result();
        count[state === 'pending' ? 'skipped' : state] += 1;
        if (state === 'failed') failed(module.relativeModuleId, errors, test.fullName);
      }
      const ofModule = [module, ...module.children.allSuites()].flatMap((part) => part.errors());
      if (ofModule.length > 0) failed(module.relativeModuleId, ofModule);
      count.failed += ofModule.length;
    }
    // It fails the run as well.
    if (unhandled.length > 0) failed('unhandled', unhandled);
    count.failed += unhandled.length;
    process.stdout.write(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`);
    if (process.env.CI && count.skipped > 0) {
      process.stderr.write('In CI nothing may be skipped.\n');
      process.exitCode = 1;
    }
  }
}

function inALine({ message = 'no reason', stacks: [at] = [] }: Reason): string {
  const words = stripVTControlCharacters(message).replace(/\s+/g, ' ').slice(0, MOST_CHARACTERS);
  return `\n  ${words}${at === undefined ? '' : ` (${at.file.split('/').slice(-2).join('/')}:${at.line})`}`;
}
