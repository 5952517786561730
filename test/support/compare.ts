import type { Redis } from 'ioredis';
import { type CompareOptions, compareDatabases, type Difference } from '../../src/demo/compare.js';

/** @returns every key that is not the same on both sides, keymend's own (`keymend:…`) left out; empty when they are equal */
export async function compareRedis(a: Redis, b: Redis, options?: CompareOptions): Promise<readonly Difference[]> {
  return (await compareDatabases(a, b, options)).differences;
}
