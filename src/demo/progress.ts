/** One line on the terminal that is always current; nothing at all in a pipe. */
const INTERVAL_MS = 200;

export interface ProgressLine {
  stop(): void;
}

/** @param text what the line shall say now */
export function showProgress(text: () => string): ProgressLine {
  if (!process.stderr.isTTY) return { stop() {} };
  const draw = () => process.stderr.write(`\r\x1b[K${text().slice(0, (process.stderr.columns ?? 80) - 1)}`);
  const timer = setInterval(draw, INTERVAL_MS);
  return {
    stop() {
      clearInterval(timer);
      draw();
      process.stderr.write('\n');
    },
  };
}
