/**
 * Connections to Temporal. Where to connect comes from @temporalio/envconfig (TEMPORAL_* variables
 * or a profile), and only where these are silent from `temporal:` in keymend.yaml.
 */
import { isIP } from 'node:net';
import { Client, Connection } from '@temporalio/client';
import type { PayloadCodec } from '@temporalio/common';
import { loadClientConnectConfig } from '@temporalio/envconfig';
// A type alone: to load the worker takes half a second, which no verb but its own is to wait for.
import type { NativeConnectionOptions } from '@temporalio/worker';
import type { Config } from '../config.js';
import { tlsFailure, tlsTrouble } from '../tls-trouble.js';
import { codecKeysOf, payloadCodec } from './codec.js';
import { errorText } from './error-text.js';
import { retried } from './retried.js';

/**
 * Temporal can't be used as configured. The message is one line: where, what is wrong, what to do.
 */
class TemporalError extends Error {
  override readonly name = 'TemporalError';
}

export interface TemporalTarget {
  readonly options: NativeConnectionOptions;
  readonly address: string;
  readonly namespace: string;
  /** Absent: Temporal may read the payloads. */
  readonly codec?: PayloadCodec;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Says where Temporal is, without connecting.
 * @throws TemporalError when a variable, a profile or a file that it names is unusable; CodecError
 *   or SecretFileError for keys that are
 */
export function temporalTarget(config: Config, environment: NodeJS.ProcessEnv): TemporalTarget {
  const asked = environment.TEMPORAL_TLS;
  if (asked && !TLS_SWITCH.has(asked))
    throw new TemporalError('Temporal: TEMPORAL_TLS must be true or 1, false or 0; anything else would be no TLS');
  let loaded: ReturnType<typeof loadClientConnectConfig>;
  try {
    // One that is empty is not given: so a compose file leaves it out.
    const given = Object.entries(environment).filter((entry): entry is [string, string] => Boolean(entry[1]));
    loaded = loadClientConnectConfig({ overrideEnvVars: Object.fromEntries(given) });
  } catch (error) {
    // Without the cause, which has the lines as well.
    throw new TemporalError(
      `Temporal: the TEMPORAL_* variables or the profile are not usable: ${withoutLines(error as Error)}`,
    );
  }
  const problem = secretProblem(loaded.connectionOptions);
  if (problem !== undefined) throw new TemporalError(`Temporal: ${problem}`);
  const address = loaded.connectionOptions.address ?? config.temporal.address ?? '127.0.0.1:7233';
  const namespace = loaded.namespace ?? config.temporal.namespace ?? 'default';
  const { codec } = config.temporal;
  return {
    options: { ...loaded.connectionOptions, address },
    address,
    namespace,
    ...(codec && { codec: payloadCodec(codecKeysOf(codec)) }),
  };
}

/**
 * A fault of the profile is told with the lines around it, and in these the API key or a private
 * key may be.
 */
function withoutLines(error: Error & { readonly line?: unknown; readonly column?: unknown }): string {
  const [said = ''] = error.message.split(/[\r\n]/, 1);
  return typeof error.line === 'number' ? `${said} (line ${error.line}, column ${error.column})` : said;
}

/** What the SDK takes any other value for is false. */
const TLS_SWITCH: ReadonlySet<string> = new Set(['true', '1', 'false', '0']);

/** What gRPC takes in a header. It quotes what it does not take. */
const SENDABLE = /^[ -~]*$/;

function secretProblem({
  apiKey,
  tls,
  metadata = {},
}: ReturnType<typeof loadClientConnectConfig>['connectionOptions']) {
  if (apiKey && tls === false)
    return 'with TLS switched off (TEMPORAL_TLS, or disabled in the profile) the API key could be read on its way; switch it on';
  const only = 'can be sent only as printable ASCII in one line; look for a line break at its end';
  if (typeof apiKey === 'string' && !SENDABLE.test(apiKey)) return `TEMPORAL_API_KEY or api_key of the profile ${only}`;
  const header = Object.entries(metadata).find(([, value]) => !SENDABLE.test(`${value}`))?.[0];
  return header === undefined ? undefined : `the value of the header ${header} (TEMPORAL_GRPC_META_…) ${only}`;
}

/**
 * @throws TemporalError when it can't be reached or the namespace does not exist. The caller closes
 *   `client.connection`.
 */
export async function connectClient(target: TemporalTarget): Promise<Client> {
  let connection: Connection | undefined;
  try {
    const options = { ...target.options, connectTimeout: CONNECT_TIMEOUT_MS, interceptors: [retried] };
    connection = await Connection.connect(options);
    await connection.workflowService.describeNamespace({ namespace: target.namespace });
    return new Client({ connection, namespace: target.namespace, ...convertedBy(target.codec) });
  } catch (error) {
    await connection?.close();
    throw unusable(target, (await tlsFailureOf(target)) ?? error);
  }
}

/** The beginning of HTTP/2: its preface, and settings without a setting. */
const HELLO = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/**
 * gRPC says only that there was no connection in time. null: by TLS there is one, or none is asked
 * for.
 */
async function tlsFailureOf({ address, options: { tls, apiKey } }: TemporalTarget): Promise<Error | null> {
  if (!tls && apiKey === undefined) return null;
  const {
    serverRootCACertificate: ca,
    clientCertPair: pair,
    serverNameOverride: servername,
  } = tls instanceof Object ? tls : {};
  if (!URL.canParse(`tls://${address}`)) return null;
  const { hostname, port } = new URL(`tls://${address}`);
  const name = servername ?? (isIP(hostname) === 0 ? hostname : undefined);
  const settings = { ca, cert: pair?.crt, key: pair?.key, servername: name };
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  return tlsFailure(
    { host: hostname, port: Number(port), ALPNProtocols: ['h2'], timeout: CONNECT_TIMEOUT_MS, ...given },
    HELLO,
    // What can't be used at all was told of before.
  ).catch(() => null);
}

/** The part of a client's options that it is. */
export function convertedBy(codec: PayloadCodec | undefined) {
  return codec === undefined ? {} : { dataConverter: { payloadCodecs: [codec] } };
}

const TLS_SETTINGS = {
  ca: 'TEMPORAL_TLS_SERVER_CA_CERT_PATH',
  certificate: 'TEMPORAL_TLS_CLIENT_CERT_PATH',
  serverName: 'TEMPORAL_TLS_SERVER_NAME',
};

/** What is said of a failure to use it. */
export function unusable({ address, namespace }: TemporalTarget, error: unknown): TemporalError {
  const said = errorText(error);
  const next = tlsTrouble(said, TLS_SETTINGS) ?? 'is it running, and is TEMPORAL_ADDRESS or temporal.address right?';
  return new TemporalError(`Temporal at ${address}, namespace ${namespace}: ${said}; ${next}`, { cause: error });
}
