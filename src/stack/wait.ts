/** Waiting for a service to answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { reasonOf } from './errors.js';

/** How the wait for a service ended. */
export type Readiness =
  | { readonly kind: 'ready' }
  | { readonly kind: 'ended'; readonly how: string }
  | { readonly kind: 'silent'; readonly reason: string };

const ASK_AGAIN_MS = 100;

/**
 * Asks until the service answers, its process ends, or `timeoutMs` are over.
 * @param answers resolves when the service answers as it should, rejects with the reason when not yet
 * @param ended the end of its process, if that is ours to see
 */
export async function untilReady(
  answers: () => Promise<void>,
  timeoutMs: number,
  ended?: Promise<string>,
): Promise<Readiness> {
  const deadline = performance.now() + timeoutMs;
  let end: string | undefined;
  void ended?.then((how) => {
    end = how;
  });
  for (;;) {
    const reason = await answers().then(
      () => undefined,
      (error: unknown) => reasonOf(error),
    );
    // An answer from a port whose process has ended comes from somebody else.
    if (end !== undefined) return { kind: 'ended', how: end };
    if (reason === undefined) return { kind: 'ready' };
    if (performance.now() > deadline) return { kind: 'silent', reason };
    await sleep(ASK_AGAIN_MS);
  }
}
