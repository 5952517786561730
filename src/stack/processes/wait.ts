/** Waiting for a service to answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { reasonOf } from '../errors.js';

/** How the wait for a service ended. */
type Readiness =
  | { readonly kind: 'ready' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'silent'; readonly reason: string };

const ASK_AGAIN_MS = 100;

/**
 * Asks until the service answers, its process is gone, or `timeoutMs` are over.
 * @param answers resolves when the service answers as it should, rejects with the reason when not
 *   yet
 * @param lives whether its process runs, for a service whose process we know
 * @throws the reason of `signal` once that is aborted
 */
export async function untilReady(
  answers: () => Promise<void>,
  timeoutMs: number,
  lives: () => boolean = () => true,
  signal?: AbortSignal,
): Promise<Readiness> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const reason = await answers().then(
      () => undefined,
      (error: unknown) => reasonOf(error),
    );
    signal?.throwIfAborted();
    // An answer from a port whose process is gone comes from somebody else.
    if (!lives()) return { kind: 'ended' };
    if (reason === undefined) return { kind: 'ready' };
    if (performance.now() > deadline) return { kind: 'silent', reason };
    await sleep(ASK_AGAIN_MS);
  }
}
