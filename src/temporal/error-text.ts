/** What an error of the Temporal client says, all of it, in one line. */

import { isGrpcServiceError, NamespaceNotFoundError, ServiceError } from '@temporalio/client';

const MAX_LENGTH = 600;
const INVALID_ARGUMENT = 3;

/** Whether the client of Temporal threw it: then `errorText` says more than its message. */
export function isTemporalError(error: unknown): boolean {
  return error instanceof ServiceError || error instanceof NamespaceNotFoundError || isGrpcServiceError(error);
}

/** Why Temporal refuses a question that it takes for wrong; null: it failed for another reason. */
export function refusalOf(error: unknown): string | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (isGrpcServiceError(cause) && cause.code === INVALID_ARGUMENT) return cause.details;
  }
  return null;
}

/**
 * The message with those of its causes. That of the client says only which call failed ("Failed to
 * signal Workflow"); why is in the gRPC error behind it, or between the lines of a native one.
 */
export function errorText(error: unknown): string {
  const said: string[] = [];
  for (let current = error; current !== undefined && current !== null; current = (current as Error).cause) {
    const message = oneLine(current instanceof Error ? current.message : String(current));
    if (message !== '' && !said.some((text) => text.includes(message))) said.push(message);
    if (said.length === 5 || !(current instanceof Error)) break;
  }
  return (said.join(': ') || 'no reason given').slice(0, MAX_LENGTH).toWellFormed();
}

/**
 * What a server says of one workflow may name its ID, which is a key; whoever tells of the error
 * says itself which key it was, or may not.
 */
export function withoutId(message: string): string {
  return message.replace(/(\bworkflow ?id: |\bworkflow id (?=")|\bfor id: ).*?(?=,? (?:and )?run ?id\b|$)/gi, '$1…');
}

/** gRPC puts the number of its code in front of the name. */
function oneLine(message: string): string {
  return message
    .slice(0, 4 * MAX_LENGTH)
    .split(/[\r\n]+/)
    .map((line) => withoutId(line.trim()))
    .filter((line) => line !== '')
    .join('; ')
    .replace(/^\d+ (?=[A-Z_]+: )/, '');
}
