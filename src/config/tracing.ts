/** `tracing` of the configuration: where spans go, and how keys stand in spans and elsewhere. */
import { z } from 'zod';
import { PRIVACY, type PrivacyRule, SECRET_CHARACTERS } from '../privacy.js';

/** `otlp` absent: no spans. */
export type TracingConfig = PrivacyRule & { readonly otlp?: string | undefined };

const URL_NEEDED =
  'must be a url such as http://collector:4318, without user, password and anything behind ? or #; ' +
  'credentials go into OTEL_EXPORTER_OTLP_HEADERS';

/**
 * The exporter takes credentials from its own variable, so that no url has them: the log names it.
 */
function isCollector(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  const hasLogin = url !== null && (url.username !== '' || url.password !== '');
  return url !== null && /^https?:$/.test(url.protocol) && !hasLogin && !/[?#]/.test(text);
}

export const tracingConfig = z
  .strictObject({
    otlp: z
      .string()
      .refine(isCollector, URL_NEEDED)
      .optional()
      .describe('The collector that takes spans by OTLP over HTTP; `/v1/traces` is added. Absent: no spans.'),
    privacy: z
      .enum(PRIVACY)
      .default('truncate')
      .describe(
        'How keys stand in spans, in the log and in messages of a webhook: as they are, the first half and at most 16 characters, or an HMAC.',
      ),
    secret: z
      .string()
      .min(SECRET_CHARACTERS, `must have at least ${SECRET_CHARACTERS} characters`)
      .optional()
      .describe(
        'Needed with `privacy: hmac`, and the same in every process: what the HMAC is made with. At least 16 characters.',
      ),
  })
  .transform(({ otlp, privacy, secret }, context): TracingConfig => {
    if (privacy !== 'hmac') return { otlp, privacy };
    if (secret !== undefined) return { otlp, privacy, secret };
    const message = 'is missing: privacy: hmac needs one; make it with `openssl rand -hex 32`';
    context.addIssue({ code: 'custom', path: ['secret'], message });
    return z.NEVER;
  });
