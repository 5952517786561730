/**
 * The search attributes of keymend: how people find keys. No repair waits for them, so what is
 * wrong with them is told and nothing else. Their list is in `workflows/messages.ts`.
 */
import type { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../workflows/messages.js';
import { within } from '../patience/within.js';
import { errorText } from './error-text.js';

/** A client's connection, or a worker's. */
type Operator = Pick<Connection, 'operatorService'>;

const KEYWORD = 2; // temporal.api.enums.v1.IndexedValueType
const TYPES = ['?', 'Text', 'Keyword', 'Int', 'Double', 'Bool', 'Datetime', 'KeywordList'];
const NAMES = Object.values(SEARCH_ATTRIBUTES);

interface AttributeReport {
  readonly usable: readonly string[];
  /** What is wrong with the others and what to do, in one line; null: nothing. */
  readonly problem: string | null;
}

/** @throws what the client throws when Temporal does not answer, or does not say */
export async function searchAttributes({ operatorService }: Operator, namespace: string): Promise<AttributeReport> {
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  const typeOf = (name: string): number | undefined => customAttributes?.[name] ?? undefined;
  const missing = NAMES.filter((name) => typeOf(name) === undefined);
  const wrong = NAMES.filter((name) => ![undefined, KEYWORD].includes(typeOf(name)));
  const usable = NAMES.filter((name) => typeOf(name) === KEYWORD);
  if (usable.length === NAMES.length) return { usable, problem: null };
  const problems = [
    ...(missing.length > 0 ? [`${missing.join(' and ')} missing`] : []),
    ...wrong.map((name) => `${name} of type ${TYPES[typeOf(name)!] ?? '?'} instead of Keyword`),
  ];
  const remove = wrong.length > 0 ? `\`temporal operator search-attribute remove${named(wrong)}\`, then ` : '';
  const create = `\`temporal operator search-attribute create${named([...missing, ...wrong], ' --type Keyword')}\``;
  const problem = `Temporal namespace ${namespace}: search attributes: ${problems.join(', ')}; ${remove}${create}`;
  return { usable, problem };
}

/**
 * Registers what is missing, which a self-hosted server allows. Running it twice is harmless. Never
 * rejects.
 * @returns what is wrong nevertheless, in one line; null: nothing
 */
export async function createSearchAttributes(connection: Operator, namespace: string): Promise<string | null> {
  let refusal = '';
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    const absent = NAMES.filter((name) => customAttributes?.[name] === undefined);
    if (absent.length > 0) {
      const searchAttributes = Object.fromEntries(absent.map((name) => [name, KEYWORD]));
      await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
    }
  } catch (error) {
    // Two processes that start at once both try; whoever comes second finds them there.
    refusal = ` (from here: ${errorText(error)})`;
  }
  try {
    const { problem } = await searchAttributes(connection, namespace);
    return problem && `${problem}${refusal}`;
  } catch (error) {
    return `Temporal namespace ${namespace}: its search attributes can't be listed (${errorText(error)})`;
  }
}

function named(names: readonly string[], type = ''): string {
  return names.map((name) => ` --name ${name}${type}`).join('');
}

/** Asked by many keys at once, an answer serves for so long. */
const FRESH_MS = 5_000;
/** Then what was known last serves: who asks has 5 s for all. */
const LONGEST_ANSWER_MS = 1_500;

/** What can be written now, asked when somebody wants to know. */
export class UsableAttributes {
  readonly #connection: Operator;
  readonly #namespace: string;
  readonly #changed: (problem: string | null) => void;
  #problem: string | null;
  /** What was known last. */
  #usable: readonly string[];
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking: Promise<readonly string[]> = Promise.resolve([]);

  /**
   * @param problem what is known to be wrong already
   * @param changed told of what is wrong when that has changed
   */
  constructor(
    connection: Operator,
    namespace: string,
    problem: string | null,
    changed: (problem: string | null) => void,
  ) {
    this.#connection = connection;
    this.#namespace = namespace;
    this.#problem = problem;
    this.#usable = problem === null ? NAMES : [];
    this.#changed = changed;
  }

  /**
   * Never rejects, nor keeps who asks waiting: a Temporal that is slow for a moment must not be the
   * reason that an escalated key shows nothing.
   */
  async get(): Promise<readonly string[]> {
    if (performance.now() - this.#askedAt > FRESH_MS) {
      this.#askedAt = performance.now();
      this.#asking = this.#ask();
    }
    const answer = await within(LONGEST_ANSWER_MS, this.#asking);
    return answer === 'late' ? this.#usable : answer;
  }

  async #ask(): Promise<readonly string[]> {
    try {
      const { usable, problem } = await searchAttributes(this.#connection, this.#namespace);
      if (problem !== this.#problem) this.#changed(problem);
      this.#problem = problem;
      this.#usable = usable;
    } catch {
      // What was known last is the best guess. A wrong one costs the task another attempt.
    }
    return this.#usable;
  }
}
