/** Calls `stop` when the signal is aborted, until what comes back is called: signals may outlive by far what they are given to. */
export function onAbort(signal: AbortSignal | undefined, stop: () => void): () => void {
  signal?.addEventListener("abort", stop, { once: true });
  return () => signal?.removeEventListener("abort", stop);
}
