/**
 * Redis: two servers, each with an append-only file, so that a kill loses nothing that was
 * acknowledged.
 */
import { Redis } from 'ioredis';
import { REDIS_SOURCE, REDIS_TARGET } from './environment.js';
import { HOST, type PortName } from './processes/ports.js';
import { findOnPath } from './programs/command.js';
import { installPackage } from './programs/package-manager.js';
import { firstWay, noWay, type Provision } from './programs/provision.js';
import { portOf, type Service, type ServiceName } from './service.js';

const ANSWER_WITHIN_MS = 5_000;

const REMEDIES =
  `Install Redis 7 or newer (https://redis.io/docs/latest/operate/oss_and_stack/install/) so that \`redis-server\` is on the PATH, ` +
  `or set ${REDIS_SOURCE} and ${REDIS_TARGET} to running ones.`;

export const redisSourceService = redisService('redis-source', 'Redis (source)', 'redisSource');
export const redisTargetService = redisService('redis-target', 'Redis (target)', 'redisTarget');

function redisService(name: ServiceName, title: string, port: PortName): Service {
  return {
    name,
    title,
    ports: [port],

    async provide(provision) {
      const program = await provideRedis(provision);
      return async (folder, ports) => ({
        program,
        arguments: [
          ...['--bind', HOST, '--port', `${portOf(ports, port)}`, '--dir', folder],
          ...['--appendonly', 'yes', '--save', ''],
        ],
        environment: provision.environment,
      });
    },

    answers: (ports) => redisAnswers(`redis://${HOST}:${portOf(ports, port)}`),
  };
}

/** Resolves when the server at `url` has loaded its data and answers. */
export async function redisAnswers(url: string): Promise<void> {
  const client = new Redis(url, {
    protocol: 2,
    lazyConnect: true,
    connectTimeout: ANSWER_WITHIN_MS,
    commandTimeout: ANSWER_WITHIN_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let problem: Error | undefined;
  client.on('error', (error: Error) => {
    problem = error;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    // ioredis rejects with "Connection is closed" and gives the cause to the listener. Its errors
    // carry the arguments of the command, a password among them, so only the message goes on.
    throw new Error((problem ?? (error as Error)).message);
  } finally {
    client.disconnect();
  }
}

/** @returns the path of a `redis-server` program */
export function provideRedis(provision: Provision): Promise<string> {
  const onPath = async () => findOnPath('redis-server', provision.environment) ?? noWay('no redis-server there');
  return firstWay(provision, 'Redis', REMEDIES, [
    { name: 'PATH', looks: true, attempt: onPath },
    {
      name: 'package manager',
      attempt: async () => {
        await installPackage(provision, 'redis');
        return onPath();
      },
    },
  ]);
}
