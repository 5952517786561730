/**
 * The url of a Redis, as a configuration or the environment gives it: checked before anybody
 * connects, so that what is wrong is told with its place, and nothing in it can change how keymend
 * connects.
 */

/** What a url says, in the words of ioredis. */
interface RedisUrl {
  readonly host?: string;
  readonly port?: number;
  /** Of a Unix socket. */
  readonly path?: string;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  readonly family?: number;
  readonly tls?: Record<string, never>;
}

export const ESCAPES = 'write # / ? @ : % in a password as %23 %2F %3F %40 %3A %25';
const DATABASE = /^\d{1,9}$/;
/** Parameters that say where the server is, with what each may be. */
const PARAMETERS: Readonly<Record<string, RegExp>> = { db: DATABASE, family: /^[046]$/ };
/** The url of a socket has no other place for them. */
const PARAMETERS_OF_SOCKETS: Readonly<Record<string, RegExp>> = { db: DATABASE, username: /./, password: /./ };
/**
 * Options of ioredis, which it takes from a url before those of its caller. Other names are not
 * said: they may be the rest of a password.
 */
const OPTIONS_OF_IOREDIS: ReadonlySet<string> = new Set(
  (
    'autoPipeliningIgnoredCommands autoResendUnfulfilledCommands autoResubscribe blockingTimeout clientInfoTag commandQueue ' +
    'commandTimeout connectTimeout connectionName disableClientInfo enableAutoPipelining enableOfflineQueue ' +
    'enableReadyCheck enableTLSForSentinelMode failoverDetector host keepAlive keyPrefix lazyConnect maxLoadingRetryTime ' +
    'maxRetriesPerRequest monitor name noDelay offlineQueue password path port protocol readOnly reconnectOnError ' +
    'retryStrategy role sentinelPassword sentinelUsername sentinels showFriendlyErrorStack socketTimeout stringNumbers tls ' +
    'username'
  ).split(' '),
);

/** @returns null where that is no url, or a part of it can't be decoded */
export function parsedUrl(text: string): URL | null {
  try {
    const parsed = new URL(text);
    // Each by itself: a % at the end of one may be an escape with what the next begins with.
    for (const part of [parsed.username, parsed.password, parsed.hostname, parsed.pathname]) decodeURIComponent(part);
    return parsed;
  } catch {
    return null;
  }
}

/**
 * What is wrong with the url of a server, as the second half of a sentence that begins with its
 * place; undefined: nothing. Quotes nothing of it that may be a password.
 */
export function urlProblem(text: string): string | undefined {
  const isSocket = text.startsWith('unix:');
  if (!isSocket && !/^rediss?:\/\//.test(text)) return 'must start with redis:// or rediss://';
  const parsed = parsedUrl(text);
  if (parsed === null) return `is no url: look at the port, and ${ESCAPES}`;
  if (parsed.hash !== '') return `has a # that belongs to nothing; ${ESCAPES}`;
  const { pathname } = parsed;
  if (!isSocket && !/^\/?\d{0,9}\/?$/.test(pathname)) {
    return 'names no database, which is a number, behind its last /; a / in a password is written as %2F';
  }
  return parameterProblem(parsed, isSocket ? PARAMETERS_OF_SOCKETS : PARAMETERS) ?? databaseProblem(parsed, isSocket);
}

function parameterProblem({ searchParams }: URL, forms: typeof PARAMETERS): string | undefined {
  for (const name of new Set(searchParams.keys())) {
    if (!Object.hasOwn(forms, name)) {
      const which = OPTIONS_OF_IOREDIS.has(name) ? `the parameter ${name}` : 'a parameter';
      return `has ${which}, which keymend does not take from a url (only ${Object.keys(forms).join(', ')}); ${ESCAPES}`;
    }
    const values = searchParams.getAll(name);
    if (values.length > 1) return `has the parameter ${name} twice`;
    if (!forms[name]!.test(values[0]!))
      return `has a parameter ${name} that can't be one; db is a number, family 4 or 6`;
  }
  return undefined;
}

function databaseProblem({ pathname, searchParams }: URL, isSocket: boolean): string | undefined {
  const [ofPath, ofParameter] = [digitsIn(pathname), searchParams.get('db')];
  if (isSocket || ofPath === '' || ofParameter === null || Number(ofPath) === Number(ofParameter)) return undefined;
  return 'names two databases, behind its last / and as the parameter db; keep one';
}

/** What a url without problems says. */
export function parseRedisUrl(text: string): RedisUrl {
  const { protocol, hostname, port, pathname, username, password, searchParams } = new URL(text);
  const isSocket = protocol === 'unix:';
  const db = searchParams.get('db') ?? (isSocket ? '' : digitsIn(pathname));
  const family = searchParams.get('family');
  const user = decodeURIComponent(username) || (searchParams.get('username') ?? '');
  const secret = decodeURIComponent(password) || (searchParams.get('password') ?? '');
  return {
    ...(isSocket && { path: decodeURIComponent((hostname && `/${hostname}`) + pathname) }),
    ...(!isSocket && hostname !== '' && { host: bare(hostname) }),
    ...(port !== '' && { port: Number(port) }),
    ...(user !== '' && { username: user }),
    ...(secret !== '' && { password: secret }),
    ...(db !== '' && { db: Number(db) }),
    ...(family !== null && { family: Number(family) }),
    ...(protocol === 'rediss:' && { tls: {} }),
  };
}

function digitsIn(pathname: string): string {
  return pathname.replaceAll('/', '');
}

/** WHATWG keeps the brackets of an IPv6 address. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
