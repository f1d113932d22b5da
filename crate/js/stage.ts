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
  /** The ports to the stages before and after it, where there are. */
  | { task: "part"; index: number; of: number; from: MessagePort | undefined; to: MessagePort | undefined }
  | { task: "beginFile"; bytes: number | undefined; name: string | undefined }
  | { task: "pushHeader"; bytes: Uint8Array }
  /** Bytes that begin at `at` in the file; those before them that did not come are not wanted. */
  | { task: "push"; at: number; bytes: Uint8Array }
  /** Which bytes are wanted behind the header? */
  | { task: "wanted" }
  | { task: "endOfFile"; at: number }
  | { task: "finish" }
  | { task: "profile" };
/** What goes from part to part: activations, or the failure of a part before. `lost`: it will not recover. */
export type Passed = { position: number; hidden: Float32Array; rows: Int32Array } | { error: PlainError; lost: boolean };
/** From the first worker to a stage: a task, or what is passed to the first stage. */
export type ToStage = { call: "stage" } & (Task | { pass: Passed });
/** And back: the answer to a task, or what the last stage passes on. */
export type FromStage = { value: unknown } | { error: PlainError } | { pass: Passed };

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
let to: MessagePort | undefined;
/** What is passed on for ever, after a fault inside the wasm: nothing in it can be relied on. */
let broken: Passed | undefined;
/** Where in the file the next bytes are. */
let next = 0;
let queue = Promise.resolve();

/** Computes what is passed to it, or does a task after those before it and answers it. */
export function work(message: ToStage): void {
  if ("pass" in message) return pass(message.pass);
  queue = queue.then(async () => {
    try {
      answer({ value: await done(message) });
    } catch (thrown) {
      answer({ error: toPlain(thrown) });
    }
  });
}

const answer = (message: FromStage, transfer: Transferable[] = []): void => self.postMessage(message, { transfer });

async function done(task: Task): Promise<unknown> {
  if (task.task === "open") {
    ({ glue } = await openVariant([task.compiled], false));
    loader = new glue.Loader({ device: "cpu", ...task.options });
    return void (await loader.openDevice());
  }
  if (task.task === "trial") return tried(glue, task.ms);
  if (task.task === "profile") return layers?.profile();
  if (!loader) throw new Error("the layers are loaded");
  if (task.task === "part") {
    to = task.to;
    if (task.from) task.from.onmessage = ({ data }: MessageEvent<Passed>) => pass(data);
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
  }
  return undefined;
}

function skipTo(loader: WasmLoader, at: number): void {
  if (at > next) loader.skip(at - next);
  next = at;
}

/** Passes on what comes, computed: to the next stage, or back to the first worker. */
function pass(passed: Passed): void {
  const [next, transfer] = computed(passed);
  if (to) to.postMessage(next, transfer);
  else answer({ pass: next }, transfer);
}

function computed(passed: Passed): [Passed, Transferable[]] {
  if (broken || "error" in passed) return [broken ?? passed, []];
  const { position, rows } = passed;
  try {
    if (!layers) throw new Error("there are no layers yet");
    const hidden = layers.run(position, passed.hidden, rows);
    return [{ position, hidden, rows }, [hidden.buffer]];
  } catch (thrown) {
    const failed: Passed = { error: toPlain(thrown), lost: thrown instanceof WebAssembly.RuntimeError };
    if (failed.lost) broken = failed;
    return [failed, []];
  }
}
