/** For worker processes of tests: says to the parent when the machine let this process wait. */
const TICK_MS = 5;
const STANDSTILL_MS = 25;

export function reportStandstills() {
  let last = Date.now();
  setInterval(() => {
    const now = Date.now();
    if (now - last > STANDSTILL_MS) process.send({ from: last, to: now });
    last = now;
  }, TICK_MS);
}
