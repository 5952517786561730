/** What is wrong with a configuration, in the words of its file. */
import type { z } from 'zod';
import { didYouMean } from '../did-you-mean.js';
import { schema } from './schema.js';

/** Of a key as somebody would write it. What is none may be a value, for example behind a comma. */
const NAME = /^[A-Za-z0-9_.:-]{1,64}$/;

/** @returns a line: the place in the file, and what is wrong there */
export function describeIssue(issue: z.core.$ZodIssue): string {
  const place = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${shown(String(part))}`))
    .join('')
    .replace(/^\./, '');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .map(shown)
      .map((key) => (place ? `${place}.${key}` : key))
      .map((path) => `unknown key "${path}"${didYouMean(path, keysOf(schema))}`)
      .join('; ');
  }
  const meant = issue.code === 'invalid_union' ? optionMeant(issue) : undefined;
  if (meant !== undefined) return meant.map(describeIssue).join('; ');
  const missing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return `${place || 'the file'}: ${missing ? 'is missing' : issue.message}`;
}

function shown(key: string): string {
  return NAME.test(key) ? key : '…';
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
