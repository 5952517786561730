/** `keymend/client`: what other services use. */

export { KeymendClientError } from './failure.js';
export { type ClientLink, type Escalation, KeymendClient, type KeymendClientOptions } from './keymend-client.js';
