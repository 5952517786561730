/** What a row makes of a cached value. */
import type { FieldPacket } from 'mysql2/promise';
import type { Mapping } from '../config.js';
import { RedisFailure, versionDigits } from '../redis/index.js';

/** A value as Redis holds it. */
export type CachedValue =
  | { readonly type: 'string'; readonly value: Buffer }
  /** By name, both of them bytes in Latin-1. */
  | { readonly type: 'hash'; readonly fields: ReadonlyMap<string, string> };

/** What a function of the application is given: NULL as null, binary as a Buffer, else the text. */
type RowOfFunction = Readonly<Record<string, string | Buffer | null>>;
type ValueFunction = (row: RowOfFunction) => unknown;

type Cells = readonly (Buffer | null)[];
type Columns = readonly FieldPacket[];

/** The numbers that MySQL has for types of columns. */
const INTEGERS: ReadonlySet<number> = new Set([1, 2, 3, 8, 9, 13]);
const [FLOAT, DOUBLE, BIT, JSON_TYPE, GEOMETRY] = [4, 5, 16, 245, 255];
const TEXTS_AND_BLOBS: ReadonlySet<number> = new Set([15, 249, 250, 251, 252, 253, 254]);
const BINARY_CHARSET = 63;

/** Makes the value of a row; null: the row says that nothing is cached. */
export class RowValue {
  readonly #value: Mapping['value'];
  readonly #version: string | undefined;
  readonly #name: string;
  #function: Promise<ValueFunction> | undefined;

  constructor({ value, version, pattern }: Mapping) {
    this.#value = value;
    this.#version = version;
    this.#name = `mapping ${pattern.text}`;
  }

  /** @throws RedisFailure when the columns are not those that the value needs */
  check(columns: Columns): void {
    const names = columns.map(({ name }) => name);
    const [value, version] = [this.#value, this.#version];
    if (version !== undefined) {
      const column = columns.find(({ name }) => name === version);
      if (column === undefined) this.#fail(`finds no column "${version}"; it has ${names.join(', ')}`);
      if (!INTEGERS.has(column.columnType!)) this.#fail(`takes "${version}" for a version, which is no integer`);
    }
    if (typeof value === 'object' && 'string' in value) {
      if (!names.includes(value.string)) this.#fail(`finds no column "${value.string}"; it has ${names.join(', ')}`);
      return;
    }
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) this.#fail(`finds the column "${twice}" twice; name one of them otherwise (AS)`);
  }

  /**
   * Loads what is needed.
   * @throws RedisFailure
   */
  async load(): Promise<void> {
    if (typeof this.#value === 'object' && 'module' in this.#value) await this.#load(this.#value);
  }

  /** @throws RedisFailure */
  async of(columns: Columns, cells: Cells): Promise<CachedValue | null> {
    this.check(columns);
    const value = this.#value;
    if (value === 'json') return { type: 'string', value: jsonOf(columns, cells) };
    if (value === 'hash') return hashOf(columns.map(({ name }, index) => [name, cells[index]!]));
    if ('string' in value) {
      const cell = cells[columns.findIndex(({ name }) => name === value.string)]!;
      return cell && { type: 'string', value: cell };
    }
    return this.#called(await this.#load(value), columns, cells);
  }

  /**
   * @returns undefined where the mapping names none
   * @throws RedisFailure
   */
  versionOf(columns: Columns, cells: Cells): string | undefined {
    if (this.#version === undefined) return undefined;
    this.check(columns);
    const cell = cells[columns.findIndex(({ name }) => name === this.#version)]!;
    const digits = cell && versionDigits(BigInt(cell.toString()));
    return digits ?? this.#fail(`takes "${this.#version}" for a version, which is NULL or negative`);
  }

  #load(value: { readonly module: string; readonly function: string }): Promise<ValueFunction> {
    this.#function ??= loadFunction(value).catch((error: unknown) => {
      this.#function = undefined;
      return this.#fail(`can't load its function ${value.function} of ${value.module} (${nameOf(error)})`);
    });
    return this.#function;
  }

  /** An error of the function may quote the row: its name alone goes on. */
  async #called(call: ValueFunction, columns: Columns, cells: Cells): Promise<CachedValue | null> {
    const row = Object.fromEntries(columns.map((column, index) => [column.name, plain(column, cells[index]!)]));
    let made: unknown;
    try {
      made = await call(row);
    } catch (error) {
      return this.#fail(`has a function that throws (${nameOf(error)})`);
    }
    // Nothing else is null: a function without its `return` would empty the cache.
    if (made === null) return null;
    if (typeof made === 'string' || Buffer.isBuffer(made))
      return { type: 'string', value: Buffer.from(made as string) };
    if (!isFlat(made)) {
      return this.#fail('has a function that returns neither a text, a Buffer, a plain object of these, nor null');
    }
    return hashOf(Object.entries(made).map(([name, each]) => [name, Buffer.from(each as string)]));
  }

  #fail(problem: string): never {
    throw new RedisFailure('MAPPING', `is asked by ${this.#name}, which ${problem}`);
  }
}

async function loadFunction(value: { readonly module: string; readonly function: string }): Promise<ValueFunction> {
  const { resolve } = await import('node:path');
  const { pathToFileURL } = await import('node:url');
  const exported: unknown = (await import(pathToFileURL(resolve(value.module)).href))[value.function];
  if (typeof exported !== 'function') throw new TypeError('it exports no such function');
  return exported as ValueFunction;
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'no Error';
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' && /^[A-Z0-9_]+$/.test(code) ? code : error.constructor.name;
}

/** A plain object of texts and Buffers: a Map, a Date or a class would pass for one without any. */
function isFlat(made: unknown): made is Readonly<Record<string, string | Buffer>> {
  if (typeof made !== 'object' || made === null) return false;
  const prototype: unknown = Object.getPrototypeOf(made);
  // Also one of another realm.
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return isPlain && Object.values(made).every((each) => typeof each === 'string' || Buffer.isBuffer(each));
}

/** A NULL is no field; a hash without fields is no key. */
function hashOf(cells: readonly (readonly [name: string, cell: Buffer | null])[]): CachedValue | null {
  const fields = new Map<string, string>();
  for (const [name, cell] of cells) {
    if (cell !== null) fields.set(Buffer.from(name).toString('latin1'), cell.toString('latin1'));
  }
  return fields.size === 0 ? null : { type: 'hash', fields };
}

function isBinary({ columnType, characterSet }: FieldPacket): boolean {
  if (columnType === BIT || columnType === GEOMETRY) return true;
  return TEXTS_AND_BLOBS.has(columnType!) && characterSet === BINARY_CHARSET;
}

function plain(column: FieldPacket, cell: Buffer | null): string | Buffer | null {
  return cell === null || isBinary(column) ? cell : cell.toString();
}

/**
 * What `JSON.stringify` writes of the row, columns in the order of the SELECT: texts, times and
 * DECIMAL as texts, numbers as numbers, but integers that are no exact `number` as texts; binary as
 * base64; a column of type JSON as it is.
 */
function jsonOf(columns: Columns, cells: Cells): Buffer {
  const members = columns.map((column, index) => `${JSON.stringify(column.name)}:${jsonCell(column, cells[index]!)}`);
  return Buffer.from(`{${members.join(',')}}`);
}

function jsonCell(column: FieldPacket, cell: Buffer | null): string {
  if (cell === null) return 'null';
  if (isBinary(column)) return JSON.stringify(cell.toString('base64'));
  const text = cell.toString();
  const { columnType } = column;
  if (INTEGERS.has(columnType!)) return integer(text);
  // The server writes 1e20 and -0 as no JSON.stringify does.
  if (columnType === FLOAT || columnType === DOUBLE) return JSON.stringify(Number(text));
  if (isJson(column)) return text;
  return JSON.stringify(text);
}

/** ZEROFILL writes zeros in front. */
function integer(text: string): string {
  const exact = BigInt(text);
  const isNumber = exact >= Number.MIN_SAFE_INTEGER && exact <= Number.MAX_SAFE_INTEGER;
  return isNumber ? `${exact}` : `"${exact}"`;
}

/** MariaDB calls it a text, and says beside that what it is. */
function isJson(column: FieldPacket): boolean {
  const { extendedFormat } = column as { readonly extendedFormat?: string };
  return column.columnType === JSON_TYPE || extendedFormat === 'json';
}
