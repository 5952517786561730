/** `keymend/client`: what other services use. */

export type { SweepOptions, SweepProgress, SweepResult } from '../../workflows/sweep-messages.js';
export { CodecError, type CodecKey, payloadCodec } from '../temporal/codec.js';
export type { RunStatus } from '../temporal/unfinished.js';
export { KeymendClientError } from './failure.js';
export { type ClientLink, type Escalation, KeymendClient, type KeymendClientOptions } from './keymend-client.js';
export type { SweepRun } from './sweep-run.js';
