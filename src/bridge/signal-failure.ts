/** What a failed signalWithStart means: is Temporal away, or does it refuse this one key? */
import { isGrpcServiceError } from '@temporalio/client';
import { NamespaceNotFoundError, WorkflowNotFoundError } from '@temporalio/common';
import { SEARCH_ATTRIBUTES } from '../../workflows/messages.js';
import { withoutId } from '../temporal/error-text.js';

type SignalFailure =
  /** Temporal takes nothing from us now. Any signal may work later; none is to be given up. */
  | { readonly kind: 'unavailable'; readonly code: string; readonly message: string }
  /** This signal will never be taken. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  /**
   * The running workflow of the key has as many unread signals as Temporal allows: no worker reads
   * them.
   */
  | { readonly kind: 'backlogged'; readonly code: string; readonly message: string }
  /**
   * Temporal has just ended the workflow of the key because its history was full, and with it what
   * it had still to do.
   */
  | { readonly kind: 'history-lost'; readonly code: string; readonly message: string }
  /** Not from Temporal: a bug. */
  | { readonly kind: 'unexpected' };

/** Names of gRPC's status codes, https://grpc.io/docs/guides/status-codes/ */
const GRPC_STATUS = [
  ...['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS'],
  ...['PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED'],
  ...['INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'],
];
/** Refusals with INVALID_ARGUMENT that have to do with the set-up, hence with every key. */
const SETUP = /search attribute|namespace|task ?queue|workflow ?type/i;

/** @param error what `WorkflowClient.signalWithStart` threw */
export function signalFailure(error: unknown): SignalFailure {
  if (error instanceof NamespaceNotFoundError) {
    return unavailable(
      'NOT_FOUND',
      `namespace "${error.namespace}" does not exist; create it or check TEMPORAL_NAMESPACE`,
    );
  }
  if (error instanceof WorkflowNotFoundError) return unavailable('NOT_FOUND', withoutId(error.message));
  const cause = error instanceof Error ? error.cause : undefined;
  if (!isGrpcServiceError(cause)) return { kind: 'unexpected' };
  const code = GRPC_STATUS[cause.code] ?? `code ${cause.code}`;
  const message = withoutId(cause.details || cause.message);
  if (code !== 'INVALID_ARGUMENT') return unavailable(code, message + hintFor(code));
  if (SETUP.test(message)) return unavailable(code, message + hintFor(code));
  // The server's words; it has no codes of its own for these two.
  if (/history (size|count) exceeds limit/i.test(message)) return { kind: 'history-lost', code, message };
  if (/execution limit for signal/i.test(message)) return { kind: 'backlogged', code, message };
  return { kind: 'refused', code, message };
}

function unavailable(code: string, message: string): SignalFailure {
  return { kind: 'unavailable', code, message };
}

function hintFor(code: string): string {
  switch (code) {
    case 'UNAVAILABLE':
    case 'DEADLINE_EXCEEDED':
      return '; check that Temporal runs and TEMPORAL_ADDRESS';
    case 'PERMISSION_DENIED':
    case 'UNAUTHENTICATED':
      return '; check TEMPORAL_API_KEY or the TLS certificate, and TEMPORAL_NAMESPACE';
    case 'INVALID_ARGUMENT': {
      const attributes = Object.values(SEARCH_ATTRIBUTES).map((name) => `--name ${name} --type Keyword`);
      return `; if search attributes are missing: temporal operator search-attribute create ${attributes.join(' ')}`;
    }
    default:
      return '';
  }
}
