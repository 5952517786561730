/**
 * The last words of a test run, for people and machines alike: what failed, a line each, and how
 * many. In CI a skipped test fails the run.
 */
import type { Reporter, TestModule } from 'vitest/node';

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    // An error outside of every test fails the run as well.
    let outside = unhandled.length;
    const count = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        count[state === 'pending' ? 'skipped' : state] += 1;
        if (state === 'failed') process.stdout.write(`\nfailed: ${module.relativeModuleId}: ${test.fullName}`);
      }
      outside += module.errors().length;
      for (const suite of module.children.allSuites()) outside += suite.errors().length;
    }
    count.failed += outside;
    process.stdout.write(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`);
    if (process.env.CI && count.skipped > 0) {
      process.stderr.write('In CI nothing may be skipped.\n');
      process.exitCode = 1;
    }
  }
}
