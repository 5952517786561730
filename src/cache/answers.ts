/** Answers of Redis, for which nobody waits long. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Redis did not answer in time. */
export class LateRedis extends Error {}
/** Redis refused, or can't be reached. */
class RefusingRedis extends Error {}
type NoRedis = LateRedis | RefusingRedis;

export function isNoRedis(error: unknown): error is NoRedis {
  return error instanceof LateRedis || error instanceof RefusingRedis;
}

interface AnswersOptions {
  readonly link: string;
  readonly redisTimeoutMs: number;
  /** Told of each answer that is none. */
  readonly onProblem: ((error: Error) => void) | undefined;
}

export class Answers {
  readonly #options: AnswersOptions;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /** @throws NoRedis without a cause: an error of the client holds the command, and so values */
  async of<T>(answer: Promise<T>): Promise<T> {
    const { link, redisTimeoutMs, onProblem } = this.#options;
    const end = new AbortController();
    const late = sleep(redisTimeoutMs, undefined, { signal: end.signal }).then(() => {
      throw new LateRedis(`link ${link}: Redis does not answer within ${redisTimeoutMs} ms`);
    });
    late.catch(() => {});
    try {
      return await Promise.race([answer, late]);
    } catch (error) {
      const problem = error instanceof LateRedis ? error : new RefusingRedis(`link ${link}: Redis ${refusal(error)}`);
      onProblem?.(problem);
      throw problem;
    } finally {
      end.abort();
      answer.catch(() => {});
    }
  }
}

/** An unknown command is told with what it was given. */
function refusal(error: unknown): string {
  const [said] = (error as Error).message.split(', with args');
  return `refuses: ${said}`;
}
