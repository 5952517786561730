import type { Redis } from 'ioredis';

/** All keys but the marks of who wrote last, which go by themselves. */
export async function keysOf(client: Redis): Promise<string[]> {
  return (await client.keys('*')).filter((key) => !key.startsWith('keymend:writer:')).sort();
}
