// The inside of a stage: a worker that has some layers of a language model. It does the tasks that the first worker sets
// it (`stages.ts`); once its layers are loaded, activations come from one port and go on by another.
import { type PlainError, toPlain } from "./errors.js";
import type { Glue, WasmLayers, WasmLoader } from "./glue.js";
import type { Compiled } from "./messages.js";
import { openVariant } from "./variant.js";

/** The options of the load that a stage has to know. */
export interface StageOptions {
  exact: boolean;
  contextLength?: number;
}

export type Task =
  | { task: "open"; compiled: Compiled; options: StageOptions }
  /** How fast is it now? */
  | { task: "trial"; ms: number }
  | { task: "part"; index: number; of: number; from: MessagePort; to: MessagePort }
  | { task: "beginFile"; bytes: number | undefined; name: string | undefined }
  | { task: "pushHeader"; bytes: Uint8Array }
  /** Bytes that begin at `at` in the file; those before them that did not come are not wanted. */
  | { task: "push"; at: number; bytes: Uint8Array }
  /** Which bytes are wanted behind the header? */
  | { task: "wanted" }
  | { task: "endOfFile"; at: number }
  | { task: "finish" }
  | { task: "profile" };
export type StageTask = Task & { call: "stage" };
export type TaskAnswer = { value: unknown } | { error: PlainError };

/** What goes from part to part: activations, or the failure of a part before. `lost`: it will not recover. */
export type Passed = { position: number; hidden: Float32Array; rows: Int32Array } | { error: PlainError; lost: boolean };

/** How fast a worker computed, from when to when. */
export interface Trial {
  rate: number;
  /** Milliseconds on a clock that all workers share. */
  start: number;
  end: number;
}

/** Computes for some milliseconds. */
export function tried(glue: Glue, ms: number): Trial {
  const now = (): number => performance.timeOrigin + performance.now();
  const start = now();
  const rate = glue.tryRate(ms);
  return { rate, start, end: now() };
}

let glue: Glue;
let loader: WasmLoader | undefined;
let layers: WasmLayers | undefined;
let ports: { from: MessagePort; to: MessagePort };
/** Where in the file the next bytes are. */
let next = 0;
let queue = Promise.resolve();

/** Does a task after those before it, and answers it. */
export function work(task: StageTask): void {
  queue = queue.then(async () => {
    try {
      self.postMessage({ value: await done(task) } satisfies TaskAnswer);
    } catch (thrown) {
      self.postMessage({ error: toPlain(thrown) } satisfies TaskAnswer);
    }
  });
}

async function done(task: Task): Promise<unknown> {
  if (task.task === "open") {
    ({ glue } = await openVariant(task.compiled, false));
    loader = new glue.Loader({ device: "cpu", ...task.options });
    return void (await loader.openDevice());
  }
  if (task.task === "trial") return tried(glue, task.ms);
  if (task.task === "profile") return layers?.profile();
  if (!loader) throw new Error("the layers are loaded");
  if (task.task === "part") {
    ports = task;
    loader.share(task.index, task.of);
  } else if (task.task === "beginFile") {
    loader.beginFile(task.bytes, task.name);
    next = 0;
  } else if (task.task === "pushHeader") loader.pushHeader(task.bytes);
  else if (task.task === "push") {
    skipTo(loader, task.at);
    await loader.push(task.bytes);
    next += task.bytes.length;
  } else if (task.task === "wanted") return loader.wanted();
  else if (task.task === "endOfFile") {
    skipTo(loader, task.at);
    loader.endOfFile();
  } else {
    layers = loader.finishLayers();
    loader.free();
    loader = undefined;
    pass(layers);
  }
  return undefined;
}

function skipTo(loader: WasmLoader, at: number): void {
  if (at > next) loader.skip(at - next);
  next = at;
}

/** Passes on what comes, computed. */
function pass(layers: WasmLayers): void {
  const { from, to } = ports;
  let broken: Passed | undefined;
  from.onmessage = ({ data }: MessageEvent<Passed>) => {
    if (broken || "error" in data) return to.postMessage(broken ?? data);
    const { position, rows } = data;
    try {
      const hidden = layers.run(position, data.hidden, rows);
      to.postMessage({ position, hidden, rows } satisfies Passed, [hidden.buffer]);
    } catch (thrown) {
      const failed: Passed = { error: toPlain(thrown), lost: thrown instanceof WebAssembly.RuntimeError };
      // After a fault inside the wasm nothing in it can be relied on.
      if (failed.lost) broken = failed;
      to.postMessage(failed);
    }
  };
}
