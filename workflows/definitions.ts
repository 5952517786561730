/**
 * Signals, queries and updates by their names, as the SDK for workflows defines them: whoever only
 * sends and asks does not wait until that is loaded.
 */
import type * as sdk from '@temporalio/workflow';

export function defineSignal<Args extends unknown[] = []>(name: string) {
  return { type: 'signal', name } as ReturnType<typeof sdk.defineSignal<Args>>;
}

export function defineQuery<Result, Args extends unknown[] = []>(name: string) {
  return { type: 'query', name } as ReturnType<typeof sdk.defineQuery<Result, Args>>;
}

export function defineUpdate<Result, Args extends unknown[] = []>(name: string) {
  return { type: 'update', name } as ReturnType<typeof sdk.defineUpdate<Result, Args>>;
}
