/**
 * Progress as a person likes it: on a terminal one line that is always current, in a pipe (a CI
 * job's log, for example) a line for each step, and now and then one in between.
 */
const REDRAW_MS = 200;
const IN_A_PIPE_MS = 10_000;

interface Progress {
  /** Leaves the present line as it is now and goes on with another. */
  step(): void;
  /** The same, and ends. */
  stop(): void;
}

/**
 * @param text what the line shall say now
 * @param report takes the lines where there is no terminal
 */
export function showProgress(text: () => string, report: (line: string) => void): Progress {
  const { isTTY, columns } = process.stderr;
  const draw = () => process.stderr.write(`\r\x1b[K${text().slice(0, (columns || 80) - 1)}`);
  const tell = () => report(text());
  const show = isTTY ? draw : tell;
  const everyMs = isTTY ? REDRAW_MS : IN_A_PIPE_MS;
  let timer = setInterval(show, everyMs);
  const step = () => {
    show();
    if (isTTY) process.stderr.write('\n');
    // Not right after a line of its own.
    clearInterval(timer);
    timer = setInterval(show, everyMs);
  };
  return {
    step,
    stop() {
      step();
      clearInterval(timer);
    },
  };
}
