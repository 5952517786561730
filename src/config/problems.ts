/** What is wrong with a configuration, in the words of its file. */
import type { z } from 'zod';
import { didYouMean } from '../did-you-mean.js';
import { schema } from './schema.js';

/** Of a key as somebody would write it. What is none may be a value, for example behind a comma. */
const NAME = /^[A-Za-z0-9_.:-]{1,64}$/;
/** A text beside one of these may be the rest of it. */
const SECRETS = ['password', 'secret', 'token'];
const NOT_SHOWN = '…';
const WHY_NOT_SHOWN = ' (not shown: it may be the rest of a value with a comma, which belongs in quotes)';

/**
 * @param file what was refused
 * @returns a line: the place in the file, and what is wrong there
 */
export function describeIssue(issue: z.core.$ZodIssue, file: unknown): string {
  const place = placeOf(issue.path, file);
  if (issue.code === 'unrecognized_keys') {
    const beside = valueAt(file, issue.path);
    return issue.keys.map((key) => `unknown key ${unknownKey(key, place, beside)}`).join('; ');
  }
  const meant = issue.code === 'invalid_union' ? optionMeant(issue) : undefined;
  if (meant !== undefined) return meant.map((each) => describeIssue(each, file)).join('; ');
  const missing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return `${place || 'the file'}: ${missing ? 'is missing' : issue.message}`;
}

function placeOf(path: readonly PropertyKey[], file: unknown): string {
  const known = new Set([...keysOf(schema)].map((each) => each.slice(each.lastIndexOf('.') + 1)));
  return path
    .map((part, at) => {
      if (typeof part === 'number') return `[${part}]`;
      const key = String(part);
      const isShown = NAME.test(key) && (known.has(key) || valueAt(file, path.slice(0, at + 1)) !== null);
      return `.${isShown ? key : NOT_SHOWN}`;
    })
    .join('')
    .replace(/^\./, '');
}

/**
 * `{ password: a,b }` has a key `b` without a value. So a key is shown where it is like a known
 * one, or has a value and stands beside no secret.
 */
function unknownKey(key: string, place: string, beside: unknown): string {
  const at = (name: string) => (place ? `${place}.${name}` : name);
  const meant = NAME.test(key) ? didYouMean(at(key), keysOf(schema)) : '';
  const hasValue = valueAt(beside, [key]) !== null;
  const isBesideSecret = SECRETS.some((name) => valueAt(beside, [name]) !== undefined);
  const isShown = NAME.test(key) && (meant !== '' || (hasValue && !isBesideSecret));
  return isShown ? `"${at(key)}"${meant}` : `"${at(NOT_SHOWN)}"${WHY_NOT_SHOWN}`;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((part, key) => (part as Record<PropertyKey, unknown> | null | undefined)?.[key], value);
}

/**
 * What is wrong with the one of several forms that has the right shape; undefined: none has, or
 * several have.
 */
function optionMeant({ errors, path }: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const isOther = ({ code, path, message }: z.core.$ZodIssue) =>
    path.length === 0
      ? code === 'invalid_type' || code === 'invalid_value'
      : path.length === 1 && code === 'invalid_type' && message.endsWith('received undefined');
  const [meant, ...others] = errors.filter((issues) => !issues.some(isOther));
  if (others.length > 0) return undefined;
  return meant?.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
}

/** The paths of all keys that a part of the schema knows, as the file's errors write them. */
function* keysOf(type: z.core.$ZodType, place = ''): Generator<string> {
  const { def } = (type as z.core.$ZodTypes)._zod;
  if ('shape' in def) {
    for (const [key, part] of Object.entries(def.shape)) {
      const path = place ? `${place}.${key}` : key;
      yield path;
      yield* keysOf(part, path);
    }
  } else if ('element' in def) yield* keysOf(def.element, `${place}[]`);
  else if ('options' in def) for (const option of def.options) yield* keysOf(option, place);
  else if ('innerType' in def) yield* keysOf(def.innerType, place);
  // What is written, and then made something else of.
  else if ('in' in def) yield* keysOf(def.in, place);
}
