/**
 * What stands in several places of `keymend.yaml`: times and sizes. Their `kind`, and what
 * `describe` says of each setting, are what docs/configuration.md is made of.
 */
import ms, { type StringValue } from 'ms';
import { z } from 'zod';

/**
 * A time such as `500ms`, `1s`, `15m`, or a plain number of milliseconds. Parsed to milliseconds.
 */
export const duration = z
  .union([z.number(), z.string()])
  .transform((value, context) => {
    const text = typeof value === 'string' ? value.trim() : value;
    // ms throws at an empty text and one of more than 100 characters; `1M` is a minute to it.
    const isOdd = typeof text === 'string' && (text === '' || text.length > 100 || /\d *M$/.test(text));
    const parsed = typeof text === 'number' ? text : isOdd ? Number.NaN : ms(text as StringValue);
    if (parsed === undefined || !Number.isFinite(parsed) || parsed < 0) {
      context.addIssue({ code: 'custom', message: `is not a time; write for example 500ms, 1s or 15m` });
      return z.NEVER;
    }
    return Math.round(parsed);
  })
  .meta({ kind: 'time' });

const UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** Bytes, such as `50MB`, or a plain number of them. Units as in redis.conf: 1MB is 1024 * 1024. */
export const size = z
  .union([z.number(), z.string()])
  .transform((value, context) => {
    const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMG]?B|)$/i.exec(`${value}`.trim()) ?? [];
    const bytes = Math.round(Number(number) * UNITS[unit.toUpperCase()]!);
    if (bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
    context.addIssue({ code: 'custom', message: 'is not a size; write for example 512KB, 50MB or 1GB' });
    return z.NEVER;
  })
  .meta({ kind: 'size' });

/** A pause: one of 0 would be a hot loop. */
export const pause = (leastMs: number) =>
  duration.refine((value) => value >= leastMs, `must be at least ${ms(leastMs)}`);
