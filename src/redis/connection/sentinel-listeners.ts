import type { Redis } from 'ioredis';

/** Of a Sentinel: there is another master. */
const CHANNEL = '+switch-master';

/** What of ioredis' connector is needed here; nothing of it is promised. */
interface SentinelConnector {
  connectToSentinel?: (address: unknown, options?: { lazyConnect?: boolean }) => Redis;
  failoverDetector?: { readonly sentinels: readonly { readonly client: Redis }[] } | null;
}

/**
 * Of any client; of one with Sentinels: what listens to these lives through whatever becomes of its
 * connections. By itself ioredis subscribes anew without a look at what comes of it, so a Sentinel
 * that goes just then, or a client that is closed, would end the process; and it prints each error.
 * Nor does it look at whose master is another one: it would give up its connection for each
 * failover of any group of the same Sentinels.
 */
export function outliveSentinels(client: Redis): void {
  // A Cluster has no connector, and one server a simpler one.
  const { connector } = client as unknown as { connector?: SentinelConnector };
  const connect = connector?.connectToSentinel;
  if (connector === undefined || connect === undefined) return;
  connector.connectToSentinel = (address, options) => {
    const sentinel = connect.call(connector, address, options);
    // Others ask once for the master, and are looked after.
    if (options?.lazyConnect) outlive(sentinel, client.options.name);
    return sentinel;
  };
  // It may have been connected before.
  for (const { client: sentinel } of connector.failoverDetector?.sentinels ?? [])
    outlive(sentinel, client.options.name);
}

/** @param group the name that the client asks for */
function outlive(sentinel: Redis, group: string | null | undefined): void {
  sentinel.options.autoResubscribe = false;
  sentinel.on('error', () => {});
  sentinel.on('ready', () => sentinel.subscribe(CHANNEL).catch(() => {}));
  const emit = sentinel.emit.bind(sentinel);
  sentinel.emit = (event, ...args) => (isOfAnother(group, event, args) ? false : emit(event, ...args));
}

/** The message begins with the name of the group that has another master. */
function isOfAnother(group: string | null | undefined, event: string | symbol, [channel, message]: unknown[]): boolean {
  return event === 'message' && channel === CHANNEL && `${message}`.split(' ')[0] !== group;
}
