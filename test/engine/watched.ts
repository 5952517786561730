/** A port whose watches tell what is asked of them, and let something happen between the steps. */
import { type KeyWatch, RedisFailure, type RedisPort } from '../../src/redis/index.js';

type Step = 'watch' | Exclude<keyof KeyWatch, 'state' | 'close' | 'temporaryKey'>;
/** Awaited; is told how often it was called before. */
type Hook = (call: number) => unknown;

export type WatchHooks = { readonly [When in `before ${Step}` | `after ${Step}`]?: Hook };

export interface WatchedPort {
  readonly port: RedisPort;
  /** How often each step was asked for. */
  readonly calls: ReadonlyMap<string, number>;
}

export function hookWatches(port: RedisPort, hooks: WatchHooks = {}): WatchedPort {
  const calls = new Map<string, number>();
  const ran = new Map<string, number>();
  const run = async (when: `before ${Step}` | `after ${Step}`) => {
    const call = ran.get(when) ?? 0;
    ran.set(when, call + 1);
    await hooks[when]?.(call);
  };
  const hooked = (object: KeyWatch): KeyWatch =>
    new Proxy(object, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown;
        if (typeof value !== 'function') return value;
        if (name === 'close' || name === 'temporaryKey') return value.bind(target);
        return step(name as Step, value.bind(target) as (...args: unknown[]) => Promise<unknown>);
      },
    });
  const step =
    <Args extends unknown[], Result>(name: Step, method: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      calls.set(name, (calls.get(name) ?? 0) + 1);
      await run(`before ${name}`);
      const result = await method(...args);
      await run(`after ${name}`);
      return result;
    };
  const watch = step('watch', (key: Buffer) => port.watch(key));
  const withHooks = new Proxy(port, {
    get(target, name) {
      if (name === 'watch') {
        return async (key: Buffer) => {
          const answer = await watch(key);
          return answer instanceof RedisFailure ? answer : hooked(answer);
        };
      }
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { port: withHooks, calls };
}
