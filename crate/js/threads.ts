// Threads: more workers on the memory of this one, each of which serves the pool that the kernels share their loops with.
import { toPlain } from "./errors.js";
import type { ThreadGlue } from "./glue.js";
import type { Compiled } from "./messages.js";
import { threadGlue } from "./variant.js";

/** What a thread is told when it starts, and what it answers. */
export interface ThreadStart {
  call: "thread";
  compiled: Compiled;
  memory: WebAssembly.Memory;
}
type ThreadEvent = { ready: true } | { error: string };

/** How long a load waits for threads at most; those that come later help from then on. */
const PATIENCE_MS = 3000;

/** How many threads a model gets: as asked, or what this machine has, by half where it has many, as they often are pairs. */
export function threadCount(wanted: number | undefined): number {
  const cores = navigator.hardwareConcurrency || 1;
  return wanted ?? (cores <= 4 ? cores : Math.min(8, Math.ceil(cores / 2)));
}

/** Why there can be no threads here; undefined where there can. */
export function noThreads(): string | undefined {
  if (!globalThis.crossOriginIsolated) return "the page is not cross-origin isolated";
  if (typeof SharedArrayBuffer === "undefined") return "the browser shares no memory";
  return undefined;
}

/** Starts `n` threads; gives what went wrong, if anything did, when all have answered or patience is at its end. */
export async function startThreads(n: number, compiled: Compiled, memory: WebAssembly.Memory): Promise<string | undefined> {
  const errors: string[] = [];
  const start = (): Promise<void> =>
    new Promise((resolve) => {
      const failed = (why: string): void => {
        errors.push(why);
        resolve();
      };
      try {
        // This very script, as it was loaded: no bundler needs to know of another.
        const worker = new Worker(self.location.href, { type: "module", name: "homefire-thread" });
        worker.onmessage = ({ data }: MessageEvent<ThreadEvent>) => ("error" in data ? failed(data.error) : resolve());
        worker.onerror = (event) => {
          event.preventDefault();
          failed(event.message || "its script could not be loaded");
        };
        worker.postMessage({ call: "thread", compiled, memory } satisfies ThreadStart);
      } catch (thrown) {
        failed(toPlain(thrown).message);
      }
    });
  const late = new Promise<void>((resolve) => setTimeout(resolve, PATIENCE_MS));
  await Promise.race([Promise.all(Array.from({ length: n }, start)), late]);
  return errors[0];
}

/** Makes this worker a thread. */
export async function beThread({ compiled, memory }: ThreadStart): Promise<void> {
  const answer = (event: ThreadEvent): void => self.postMessage(event);
  let glue: ThreadGlue;
  try {
    glue = threadGlue(compiled.variant);
    await glue.default({ module_or_path: compiled.module, memory });
    glue.enterThread();
    answer({ ready: true });
  } catch (thrown) {
    return answer({ error: toPlain(thrown).message });
  }
  try {
    glue.serve();
  } catch (thrown) {
    console.error(thrown);
    glue.threadEnded();
  }
}
