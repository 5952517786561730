/** `keymend dlq show LETTER` */
import { createHash } from 'node:crypto';
import { adviceFor } from '../../dead-letters/advice.js';
import { type Letter, nameOf } from '../../dead-letters/letter.js';
import { decodeFailedWrite } from '../../events/failed-write-codec.js';
import type { IntakeRecord } from '../../events/intake.js';
import { EXIT, type GlobalOptions, print, VerbError } from '../context.js';
import { type LetterView, meantLetters, viewOf, withLetters } from '../letters.js';
import { keyText } from '../printable.js';

/** What may be shown of bytes that may be anything. */
interface Sized {
  readonly bytes: number;
  readonly sha256: string;
}

interface LetterDetails extends LetterView {
  /** The headers that keymend wrote, without `dlq.`; a few lines at most. */
  readonly dlq: Readonly<Record<string, string>>;
  /** Those of the original, by size alone. */
  readonly headers: Readonly<Record<string, Sized>>;
  readonly value: (Sized & { readonly command: string | null; readonly members: number }) | Sized | null;
  readonly step: string;
}

/** Of a record that somebody else wrote a header may have anything. */
const WRITTEN_BY_US =
  /^dlq\.(reason|stage|original\.(topic|partition|offset|timestamp)|error\.(type|code|message)|failed\.(first|last)_at|attempts|redrive\.(count|last_at|id|by)|event\.id|workflow\.(id|run_id)|link|command|resolves)$/;

export async function show(name: string, { raw }: { readonly raw?: true }, global: GlobalOptions): Promise<void> {
  if (raw && process.stdout.isTTY)
    throw new VerbError('--raw writes bytes that a terminal might obey: send them to a file or a pipe', EXIT.usage);
  await withLetters(global, async (store) => {
    for await (const letter of meantLetters(store, {})) {
      if (nameOf(letter.place) !== name && letter.eventId !== name) continue;
      if (raw) process.stdout.write(letter.record.value ?? '');
      else print(global, detailsOf(letter), () => describe(detailsOf(letter)));
      return;
    }
    throw new VerbError(`no dead letter ${name} is open in ${store.name}; \`keymend dlq list\` shows those that are`);
  });
}

function detailsOf(letter: Letter): LetterDetails {
  const { record, reason, errorType } = letter;
  const entries = Object.entries(record.headers).map(([name, value]) => [name, bytesOf(value)] as const);
  const ours = entries.filter(([name]) => WRITTEN_BY_US.test(name));
  const foreign = entries.filter(([name]) => !WRITTEN_BY_US.test(name));
  return {
    ...viewOf(letter),
    dlq: Object.fromEntries(ours.map(([name, value]) => [name.slice('dlq.'.length), value.toString()])),
    headers: Object.fromEntries(foreign.map(([name, value]) => [name, sized(value)])),
    value: shownValue(record.value),
    step: adviceFor(reason, errorType).step,
  };
}

/** A failed write has no value of a user; whatever else stands there may have. */
function shownValue(value: Buffer | null): LetterDetails['value'] {
  if (value === null) return null;
  const decoded = decodeFailedWrite(value);
  if (!decoded.ok) return sized(value);
  const { command = null, members = [] } = decoded.event;
  return { ...sized(value), command, members: members.length };
}

function bytesOf(value: IntakeRecord['headers'][string]): Buffer {
  const last = Array.isArray(value) ? value.at(-1) : (value as Buffer | string | null | undefined);
  return Buffer.from(last ?? '');
}

function sized(bytes: Buffer): Sized {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

function describe({ letter, group, at, key, dlq, headers, value, step }: LetterDetails): string[] {
  const size = ({ bytes, sha256 }: Sized) => `${bytes} bytes, sha256 ${sha256}`;
  return [
    `letter ${letter}, since ${at}, of group ${group}`,
    `key: ${keyText(key)}`,
    ...Object.entries(dlq).map(([name, text]) => `${name}: ${text}`),
    `value: ${value === null ? 'none' : size(value)}`,
    ...(value !== null && 'command' in value
      ? [`failed write: ${value.command ?? 'of an unknown command'}, members named: ${value.members}`]
      : []),
    ...Object.entries(headers).map(([name, value]) => `header ${name}: ${size(value)}`),
    step,
  ];
}
