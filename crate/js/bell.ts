// How often the page has posted to its worker, in memory that both see where the page is cross-origin isolated. A worker
// that has answered looks at it for a moment before it sleeps, as threads do: being woken costs as much as a small network.

/** One number, shared. */
export type Bell = Int32Array<SharedArrayBuffer>;

/** Milliseconds for the page to take an answer and post the next call. */
const LINGER_MS = 0.2;

/** A bell, where page and worker may share memory. */
export const newBell = (): Bell | undefined =>
  globalThis.crossOriginIsolated ? new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) : undefined;

/** Says that one more message is on its way. */
export function ring(bell: Bell | undefined): void {
  if (bell) Atomics.add(bell, 0, 1);
}

/** Waits a moment for a message beyond those that have come. */
export function linger(bell: Bell | undefined, come: number): void {
  if (!bell) return;
  const end = performance.now() + LINGER_MS;
  while (Atomics.load(bell, 0) === come && performance.now() < end);
}
