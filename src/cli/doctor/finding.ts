/** What the doctor has found: one line each. */

export interface Finding {
  /** `fail`: keymend can't do its work with it. `warn`: it does, at a risk. */
  readonly level: 'ok' | 'warn' | 'fail';
  /** What was looked at, and what was found. */
  readonly message: string;
  /** What to do; null: nothing. */
  readonly remedy: string | null;
}

export function ok(message: string): Finding {
  return { level: 'ok', message, remedy: null };
}

export function warn(message: string, remedy: string | null = null): Finding {
  return { level: 'warn', message, remedy };
}

export function fail(message: string, remedy: string | null = null): Finding {
  return { level: 'fail', message, remedy };
}

/** For people. */
export function describeFinding({ level, message, remedy }: Finding): string[] {
  return [`${level.padEnd(4)}  ${message}`, ...(remedy === null ? [] : [`      ${remedy}`])];
}

/** What a check that throws has found is why. */
export async function found(
  check: () => Promise<readonly Finding[]>,
  whenItFails: (message: string) => Finding = fail,
): Promise<readonly Finding[]> {
  try {
    return await check();
  } catch (error) {
    return [whenItFails((error as Error).message)];
  }
}
