/**
 * The text of `keymend.yaml`. What is wrong with it is told without its words: they may be secrets.
 */
import { parseDocument, YAMLParseError, type YAMLWarning } from 'yaml';

const TOO_DEEP = 'it is nested too deeply';
const IN_QUOTES = 'write a text that begins with one in quotes';
/** In place of what the library says of them, which has a word of the text in it. */
const PROBLEMS: Readonly<Record<string, string>> = {
  BAD_COLLECTION_TYPE: `a ! begins a tag; ${IN_QUOTES}`,
  BAD_DIRECTIVE: 'a % at the beginning of a line begins a directive, which keymend does not take',
  BAD_DQ_ESCAPE:
    'a \\ between " and " begins an escape that there is not; write \\\\, or put the text between \' and \'',
  RESOURCE_EXHAUSTION: TOO_DEEP,
  TAG_RESOLVE_FAILED: `a ! begins a tag; ${IN_QUOTES}`,
  UNEXPECTED_TOKEN: 'here stands what YAML has no place for; look at quotes, brackets and indentation',
};

/** @returns what it says; or what is wrong with it, in one line */
export function readYaml(text: string): { readonly value: unknown } | { readonly problem: string } {
  try {
    // The library prints warnings with the line they are of.
    const document = parseDocument(text, { logLevel: 'error' });
    // A warning too is of a text that would be read as something else.
    const [fault] = [...document.errors, ...document.warnings];
    return fault === undefined ? { value: document.toJS() } : { problem: described(fault) };
  } catch (error) {
    if (error instanceof YAMLParseError) return { problem: described(error) };
    if (error instanceof ReferenceError)
      return { problem: `a * begins an alias, of which there is none or too many; ${IN_QUOTES}` };
    if (error instanceof RangeError) return { problem: TOO_DEEP };
    throw error;
  }
}

function described({ code, message, linePos: [at] = [undefined] as never }: YAMLParseError | YAMLWarning): string {
  const said = PROBLEMS[code] ?? message.split(/ at line \d+, column \d+:/, 1)[0]!;
  return at === undefined ? said : `${said} (line ${at.line}, column ${at.col})`;
}
