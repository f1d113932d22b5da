// Stages: workers that have a language model's later layers, each in a memory of its own. They need no shared memory, so
// they serve pages that are not cross-origin isolated. The first worker streams the files and hands each stage the bytes
// that it wants; then activations go by messages from this worker through all stages and back (`stage.ts`).
import { fromPlain, HomefireError, toPlain } from "./errors.js";
import type { Glue, WasmLoader } from "./glue.js";
import type { Sink } from "./loader.js";
import type { Compiled } from "./messages.js";
import { type FromStage, type Passed, type StageOptions, type Task, type ToStage, type Trial, tried } from "./stage.js";
import type { Profile } from "./types.js";

/** Workers that share one model at most, the first included. */
const MOST = 4;
/** Bytes of a file from which on a token takes so long that two messages more do not count. */
const WORTH_BYTES = 32 << 20;
/** Pieces of a file that may be on their way to one stage. */
const IN_FLIGHT = 2;
/** How long a load waits for stages to start. */
const PATIENCE_MS = 3000;
/** How often it is tried whether workers compute at once, and for how long at least. */
const [TRIALS, TRIAL_MS] = [8, 3];

/** A worker that computes later layers, as seen from the first. Tasks are answered in order. */
class Stage {
  private readonly worker: Worker;
  private readonly open: { resolve: (value: unknown) => void; reject: (error: HomefireError) => void }[] = [];
  private dead: HomefireError | undefined;
  /** Pieces that were sent and not answered, oldest first. */
  private readonly pieces: Promise<unknown>[] = [];
  /** The bytes that it wants: file, start, end, and so on; nothing while headers are read. */
  wanted: Float64Array | undefined;

  constructor(compiled: Compiled, options: StageOptions, passed: (what: Passed) => void, died: (error: HomefireError) => void) {
    // This very script, as it was loaded: no bundler needs to know of another.
    this.worker = new Worker(self.location.href, { type: "module", name: "homefire-stage" });
    this.worker.onmessage = ({ data }: MessageEvent<FromStage>) => {
      if ("pass" in data) return passed(data.pass);
      const asked = this.open.shift();
      if ("error" in data) asked?.reject(fromPlain(data.error));
      else asked?.resolve(data.value);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      const why = event.message || "its script could not be loaded";
      this.dead = this.started ? lost(why) : new HomefireError("internal", why);
      for (const { reject } of this.open.splice(0)) reject(this.dead);
      if (this.started) died(this.dead);
    };
    this.ready = this.ask({ task: "open", compiled, options }).then(() => {
      this.started = true;
    });
  }

  /** Settles when it has started. */
  readonly ready: Promise<void>;
  started = false;

  ask(task: Task, transfer: Transferable[] = []): Promise<unknown> {
    const answer = new Promise((resolve, reject) => {
      if (this.dead) return reject(this.dead);
      this.open.push({ resolve, reject });
      this.post(task, transfer);
    });
    // Whoever waits for it hears of a failure; nobody need wait.
    answer.catch(() => undefined);
    return answer;
  }

  /** Passes it activations; what comes of them is passed on from there. */
  pass(activations: Extract<Passed, { hidden: unknown }>): void {
    this.post({ pass: activations }, [activations.hidden.buffer]);
  }

  private post(what: Task | { pass: Passed }, transfer: Transferable[]): void {
    this.worker.postMessage({ call: "stage", ...what } satisfies ToStage, transfer);
  }

  /** Sends bytes of a file that begin at `at`, once there is room. */
  async push(at: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.pieces.length >= IN_FLIGHT) await this.pieces.shift();
    this.pieces.push(this.ask({ task: "push", at, bytes }, [bytes.buffer]));
  }

  /** Waits for all that was pushed. */
  async settle(): Promise<void> {
    for (const piece of this.pieces.splice(0)) await piece;
  }

  end(): void {
    this.worker.terminate();
  }
}

const lost = (why: string): HomefireError =>
  new HomefireError("internal", `A worker that has layers of the model failed: ${why}. Load the model again; with threads: 1 it needs no such worker.`);

/** The stages of one model. */
export class Stages {
  private stages: Stage[] = [];
  private dead: HomefireError | undefined;
  private readonly waiting: { resolve: (rows: Float32Array) => void; reject: (error: HomefireError) => void }[] = [];

  /**
   * Starts workers, and tries whether they compute at once: as many stay as make it faster. Gives none, and the reason, where
   * one worker is as fast. `count` includes this worker.
   */
  static async start(count: number, glue: Glue, compiled: Compiled, options: StageOptions): Promise<Stages | string> {
    const all = new Stages();
    let late: ReturnType<typeof setTimeout> | undefined;
    try {
      for (let i = 1; i < Math.min(count, MOST); i++) {
        all.stages.push(new Stage(compiled, options, (what) => all.back(what), (error) => all.fail(error)));
      }
      const patience = new Promise((resolve) => {
        late = setTimeout(resolve, PATIENCE_MS, [{ status: "rejected", reason: new HomefireError("internal", "it did not answer in time") }]);
      });
      const started = (await Promise.race([Promise.allSettled(all.stages.map(({ ready }) => ready)), patience])) as PromiseSettledResult<void>[];
      const lame = started.find((outcome) => outcome.status === "rejected");
      for (const stage of all.stages) if (!stage.started) stage.end();
      all.stages = all.stages.filter((stage) => stage.started);
      if (lame && all.stages.length === 0) throw lame.reason;
      const gain = await all.tried(glue);
      // A worker is worth having if it computes at least three tenths of what one alone does.
      const useful = Math.min(all.stages.length, Math.floor(gain + 0.7) - 1);
      if (useful < 1) {
        all.close();
        return `several workers compute ${gain.toFixed(2)} times as much as one`;
      }
      for (const stage of all.stages.splice(useful)) stage.end();
      all.connect();
      return all;
    } catch (thrown) {
      all.close();
      return `another worker could not start: ${toPlain(thrown).message}`;
    } finally {
      clearTimeout(late);
    }
  }

  /** How many workers share the model, the first included. */
  get count(): number {
    return this.stages.length + 1;
  }

  /** How many times as much all workers compute together as this one alone, over some short trials of either. */
  private async tried(glue: Glue): Promise<number> {
    tried(glue, TRIAL_MS);
    const [alone, together] = [{ products: 0, ms: 0 }, { products: 0, ms: 0 }];
    let gain = 0;
    // While a page loads, other work comes between; it hits either.
    for (let round = 1; round <= TRIALS && (round <= 2 || gain < this.count - 0.5); round++) {
      const { rate, start, end } = tried(glue, TRIAL_MS);
      alone.products += rate * (end - start);
      alone.ms += end - start;
      const fair = alone.products / alone.ms;
      const others = this.stages.map((stage) => stage.ask({ task: "trial", ms: 2 * TRIAL_MS }));
      const all = [tried(glue, 2 * TRIAL_MS), ...((await Promise.all(others)) as Trial[])];
      const common = Math.min(...all.map(({ end }) => end)) - Math.max(...all.map(({ start }) => start));
      if (common < TRIAL_MS / 2) continue;
      // Outside the time that all have in common, each is taken to have been as fast as one alone.
      for (const { rate, start, end } of all) together.products += rate * (end - start) - fair * (end - start - common);
      together.ms += common;
      gain = together.products / together.ms / fair;
    }
    return gain;
  }

  /** Tells every stage its part, and those beside each other how to reach each other. */
  private connect(): void {
    let from: MessagePort | undefined;
    this.stages.forEach((stage, i) => {
      const { port1, port2 } = new MessageChannel();
      const to = i + 1 < this.stages.length ? port1 : undefined;
      void stage.ask({ task: "part", index: i + 1, of: this.count, from, to }, [from, to].filter((port) => port !== undefined));
      from = port2;
    });
  }

  /** Takes what the last stage passes on: the answer to the oldest activations that were sent. */
  private back(what: Passed): void {
    const sent = this.waiting.shift();
    if ("error" in what) sent?.reject(what.lost ? lost(what.error.message) : fromPlain(what.error));
    else sent?.resolve(what.hidden);
  }

  private fail(error: HomefireError): void {
    this.dead = error;
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }

  /** The same loader with those of the stages behind it. */
  sink(loader: WasmLoader): Sink {
    loader.share(0, this.count);
    const { stages } = this;
    const all = (task: Task): Promise<unknown> => Promise.all(stages.map((stage) => stage.ask(task)));
    let [file, at] = [0, 0];
    return {
      wantsFile: (name) => loader.wantsFile(name),
      progress: () => loader.progress(),
      beginFile: (bytes, name) => {
        loader.beginFile(bytes, name);
        at = 0;
        // A failure is told by what is asked next.
        all({ task: "beginFile", bytes, name }).catch(() => undefined);
      },
      pushHeader: async (chunk) => {
        const there = all({ task: "pushHeader", bytes: chunk });
        there.catch(() => undefined);
        const state = loader.pushHeader(chunk);
        await there;
        return state;
      },
      push: async (chunk) => {
        // The stages first: they work while this worker does.
        for (const stage of stages) {
          for (const [start, end] of piecesOf(stage.wanted, file, at, chunk.length)) {
            await stage.push(at + start, chunk.slice(start, end) as Uint8Array<ArrayBuffer>);
          }
        }
        await loader.push(chunk);
        at += chunk.length;
        // With the header whole, each knows what it wants.
        if (stages[0]?.wanted || !loader.progress().expectedBytes) return;
        for (const stage of stages) stage.wanted = (await stage.ask({ task: "wanted" })) as Float64Array;
      },
      endOfFile: async () => {
        loader.endOfFile();
        for (const stage of stages) await stage.settle();
        await all({ task: "endOfFile", at });
        file++;
      },
    };
  }

  /** The files are read: makes the layers ready. */
  async finish(): Promise<void> {
    for (const stage of this.stages) await stage.ask({ task: "finish" });
  }

  /** Sends activations through all stages. What was sent first is answered first. */
  readonly send = (position: number, hidden: Float32Array, rows: Int32Array): Promise<Float32Array> => {
    const answer = new Promise<Float32Array>((resolve, reject) => {
      if (this.dead) return reject(this.dead);
      this.waiting.push({ resolve, reject });
      this.stages[0]?.pass({ position, hidden, rows });
    });
    // Of chunks after one that failed nobody wants to hear.
    answer.catch(() => undefined);
    return answer;
  };

  /** What one token launches in them, in order. */
  async profile(): Promise<Profile["nodes"]> {
    const nodes = await Promise.all(this.stages.map((stage) => stage.ask({ task: "profile" })));
    return (nodes as Profile["nodes"][]).flat();
  }

  close(): void {
    for (const stage of this.stages) stage.end();
    this.fail(new HomefireError("cancelled", "The model was closed."));
  }
}

/** Starts and ends, in a chunk whose first byte is at `at` in a file, of the pieces that are wanted. */
function* piecesOf(wanted: Float64Array | undefined, file: number, at: number, length: number): Iterable<[number, number]> {
  if (!wanted) return yield [0, length];
  for (let i = 0; i < wanted.length; i += 3) {
    const [of, start, end] = wanted.subarray(i) as unknown as [number, number, number];
    if (of === file && start < at + length && end > at) yield [Math.max(0, start - at), Math.min(length, end - at)];
  }
}

const isGguf = (chunk: Uint8Array): boolean => String.fromCharCode(...chunk.subarray(0, 4)) === "GGUF";

/**
 * A loader whose model is shared with stages if its first bytes are those of a GGUF file that is large enough. `start` starts them;
 * `decided` hears what came of it.
 */
export function sharing(loader: WasmLoader, start: () => Promise<Stages | string>, decided: (outcome: Stages | string) => void): Sink {
  let sink: Sink = loader;
  let begun: [number | undefined, string | undefined] = [undefined, undefined];
  let first = true;
  const decide = async (chunk: Uint8Array): Promise<void> => {
    if (!first) return;
    first = false;
    if (!isGguf(chunk)) return;
    if (begun[0] !== undefined && begun[0] < WORTH_BYTES) return decided("the model is small");
    const outcome = await start();
    decided(outcome);
    if (typeof outcome === "string") return;
    sink = outcome.sink(loader);
    sink.beginFile(...begun);
  };
  return {
    wantsFile: (name) => sink.wantsFile(name),
    progress: () => sink.progress(),
    beginFile: (...file) => {
      begun = file;
      sink.beginFile(...file);
    },
    pushHeader: async (chunk) => {
      await decide(chunk);
      return sink.pushHeader(chunk);
    },
    push: async (chunk) => {
      await decide(chunk);
      await sink.push(chunk);
    },
    endOfFile: () => sink.endOfFile(),
  };
}
