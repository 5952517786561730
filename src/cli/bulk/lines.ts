/** Keys in a file, one a line, read as they are needed. */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { EXIT, VerbError } from '../context.js';

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BOM = Buffer.from('\ufeff');
/** Whoever gives a longer line has given another file. */
const LONGEST = 1024 * 1024;

interface Line {
  readonly text: string;
  /** Where it stands, for a person. */
  readonly place: string;
}

/**
 * Lines without their ends; empty ones are left out.
 * @param path - for stdin
 * @throws VerbError for what can't be read, and for a line that is no text
 */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  const stream: AsyncIterable<Buffer> = path === '-' ? process.stdin : createReadStream(path);
  const name = path === '-' ? 'stdin' : path;
  let rest = Buffer.alloc(0);
  let number = 0;
  const line = (bytes: Buffer): Line | null => {
    number += 1;
    // An editor's mark of UTF-8 is no part of the first key.
    const marked = number === 1 && bytes.subarray(0, BOM.length).equals(BOM) ? bytes.subarray(BOM.length) : bytes;
    const ended = marked.at(-1) === RETURN ? marked.subarray(0, -1) : marked;
    const place = `${name}, line ${number}`;
    // Read as text it would become another key.
    if (!isUtf8(ended))
      throw new VerbError(`${place} is not UTF-8; write keys as base64, with --encoding base64`, EXIT.usage);
    return ended.length === 0 ? null : { text: ended.toString('utf8'), place };
  };
  try {
    for await (const chunk of stream) {
      let from = 0;
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
        const found = line(bytes.subarray(from, end));
        from = end + 1;
        if (found !== null) yield found;
      }
      rest = Buffer.from(bytes.subarray(from));
      if (rest.length > LONGEST) throw new VerbError(`${name}, line ${number + 1} is too long for a key`, EXIT.usage);
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new VerbError(`${name}: cannot be read (${code}); check the path`, EXIT.usage);
  }
  const last = rest.length === 0 ? null : line(rest);
  if (last !== null) yield last;
}
