/**
 * A thread of its own that says when requests arrive, at random moments: timers of the measured one
 * would come in clumps.
 */
import { parentPort, workerData } from 'node:worker_threads';

const { perSecond, count, seed } = workerData;
const cell = new Int32Array(new SharedArrayBuffer(4));
const now = () => performance.timeOrigin + performance.now();

/** Park and Miller's minimal standard generator: each run of one seed is the same. In (0, 1). */
let state = seed;
function random() {
  state = (state * 48_271) % 2_147_483_647;
  return state / 2_147_483_647;
}

let due = now();
for (let index = 0; index < count; index++) {
  due += (-Math.log(random()) * 1000) / perSecond;
  const waitMs = due - now();
  if (waitMs > 0) Atomics.wait(cell, 0, 0, waitMs);
  parentPort.postMessage(now());
}
