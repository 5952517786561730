/**
 * The health check of the image, for which no shell is needed: 0 when the process answers `/livez`,
 * whatever is away that it needs. KEYMEND_PORT is that of `http` in keymend.yaml; without it nothing
 * is asked, so that a process without `http` is not taken for a dead one.
 */
const { KEYMEND_PORT: port } = process.env;
const isAlive = async () => (await fetch(`http://127.0.0.1:${port}/livez`, { signal: AbortSignal.timeout(4_000) })).ok;
process.exitCode = port === undefined || (await isAlive().catch(() => false)) ? 0 : 1;
