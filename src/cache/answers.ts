/** Answers of Redis, for which nobody waits long. */
import { within } from '../patience/within.js';

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
  /** Told of each answer that is none. Must not throw. */
  readonly onProblem: (error: Error) => void;
}

export class Answers {
  readonly #options: AnswersOptions;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /** @throws NoRedis without a cause: an error of the client holds the command, and so values */
  async of<T>(answer: Promise<T>): Promise<T> {
    const { link, redisTimeoutMs, onProblem } = this.#options;
    let problem: NoRedis;
    try {
      const answered = await within(redisTimeoutMs, answer);
      if (answered !== 'late') return answered;
      // It may still be refused.
      answer.catch(() => {});
      problem = new LateRedis(`link ${link}: Redis does not answer within ${redisTimeoutMs} ms`);
    } catch (error) {
      problem = new RefusingRedis(`link ${link}: Redis ${refusal(error)}`);
    }
    onProblem(problem);
    throw problem;
  }
}

/** An unknown command is told with what it was given. */
function refusal(error: unknown): string {
  const [said] = (error as Error).message.split(', with args');
  return `refuses: ${said}`;
}
