// The page's end of the wire to one worker.
import { callFor, lookForAnswer, newBell, QUICK_MS, ring } from "./bell.js";
import { fromPlain, HomefireError, toPlain } from "./errors.js";
import type { Pump } from "./loader.js";
import type { Call, Compiled, Event, ModelCall, WireLoad } from "./messages.js";

interface Handlers {
  event: (event: Event) => void;
  fail: (error: HomefireError) => void;
  /** The model that is asked. */
  model?: number;
  /** The bytes that the page holds for a load. */
  pump?: Pump;
}

/** What the first worker of the page compiled, for those after it. */
let compiled: Compiled | undefined;

/** Starts a worker and numbers the calls to it. @internal */
export class Client {
  private readonly worker: Worker;
  private readonly bell = newBell();
  private readonly open = new Map<number, Handlers>();
  private ids = 0;
  /** The last run, and when it was called for; whether the one before was answered at once. */
  private run = { id: 0, at: 0 };
  private quick = false;
  private dead: HomefireError | undefined;

  constructor() {
    if (typeof Worker === "undefined") {
      throw new HomefireError("internal", "load() needs a browser: there is no Worker here. Call it on the client only.");
    }
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "homefire" });
    this.worker.onmessage = ({ data }: MessageEvent<Event>) => this.receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.close(
        event.message
          ? broken(event.message)
          : new HomefireError(
              "fetch",
              "The package's worker.js could not be started. If your bundler does not put it beside the bundle, run " +
                "`npx homefire copy FOLDER` with the folder of the bundle.",
            ),
      );
    };
  }

  /** Whether the worker has ended. */
  get ended(): boolean {
    return this.dead !== undefined;
  }

  /** Loads a model, whose number is the one returned; its events go to the handlers until it ends. */
  load(load: WireLoad, handlers: Handlers): number {
    return this.start((id) => ({ id, call: "load", load, compiled, bell: this.bell }), handlers);
  }

  /** Asks a model; events of this call go to the handlers until it ends. Returns the call's number. */
  call(model: number, call: ModelCall, handlers: Omit<Handlers, "model">, transfer: Transferable[] = []): number {
    return this.start((id) => ({ ...call, id, model }), { ...handlers, model }, transfer);
  }

  /** Asks a model for one value. */
  ask<T>(model: number, call: ModelCall): Promise<T> {
    return new Promise((resolve, fail) => {
      this.call(model, call, { event: (event) => "value" in event && resolve(event.value as T), fail });
    });
  }

  /** Drops a call; the worker stops what it does for it as soon as it can. */
  cancel(id: number): void {
    if (this.open.delete(id)) this.post({ id, call: "cancel" });
  }

  /** Drops the calls that one model has not answered, with `error`, and frees it. */
  closeModel(model: number, error: HomefireError): Promise<void> {
    for (const [id, handlers] of this.open) {
      if (handlers.model !== model) continue;
      this.cancel(id);
      handlers.fail(error);
    }
    // A worker that has ended has freed it.
    return this.ask<void>(model, { call: "close" }).catch(() => undefined);
  }

  /** Ends the worker, which frees its memory and its GPU device; open calls fail with `error`. */
  close(error: HomefireError): void {
    if (this.dead) return;
    this.dead = error;
    this.worker.terminate();
    const open = [...this.open.values()];
    this.open.clear();
    for (const handlers of open) handlers.fail(error);
  }

  private start(call: (id: number) => Call, handlers: Handlers, transfer: Transferable[] = []): number {
    const id = ++this.ids;
    if (this.dead) {
      handlers.fail(this.dead);
      return id;
    }
    this.open.set(id, handlers);
    try {
      this.send(call(id), transfer);
    } catch (thrown) {
      this.open.delete(id);
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      handlers.fail(new HomefireError("invalid-input", `What was given cannot be sent to the worker: ${why}`));
    }
    return id;
  }

  /** Posts a call, or leaves a run that is alone where the worker looks for it, and looks for the answer to a quick one. */
  private send(call: Call, transfer: Transferable[]): void {
    if (call.call !== "run") return this.post(call, transfer);
    this.run = { id: call.id, at: performance.now() };
    const alone = this.open.size === 1;
    if (!(alone && !call.moves && callFor(this.bell, call))) this.post(call, transfer);
    if (!(alone && this.quick && this.bell && navigator.hardwareConcurrency > 1)) return;
    const answer = lookForAnswer(this.bell);
    if (answer) queueMicrotask(() => this.receive(answer));
  }

  private post(call: Call, transfer: Transferable[] = []): void {
    this.worker.postMessage(call, transfer);
    ring(this.bell);
  }

  private receive(event: Event): void {
    const { id } = event;
    if (id === this.run.id) this.quick = performance.now() - this.run.at < QUICK_MS;
    if ("compiled" in event) {
      compiled ??= event.compiled;
      return;
    }
    const handlers = this.open.get(id);
    if (!handlers) return;
    if ("pull" in event) void this.pump(id, handlers.pump, event.pull);
    else if ("error" in event) {
      this.open.delete(id);
      const error = fromPlain(event.error);
      handlers.fail(event.fatal ? broken(error.message) : error);
      // After a fault inside the wasm nothing in it can be relied on.
      if (event.fatal) this.close(broken(error.message));
    } else {
      if ("done" in event || "value" in event) this.open.delete(id);
      handlers.event(event);
    }
  }

  private async pump(id: number, pump: Pump | undefined, part: number): Promise<void> {
    try {
      const bytes = (await pump?.next(part)) ?? null;
      const whole = bytes && bytes.byteLength === bytes.buffer.byteLength;
      this.post({ id, call: "chunk", bytes }, whole ? [bytes.buffer] : []);
    } catch (thrown) {
      this.post({ id, call: "chunk", bytes: null, error: toPlain(thrown) });
    }
  }
}

const broken = (why: string): HomefireError =>
  new HomefireError("internal", `The worker failed and was ended: ${why}. Load the model again; please report it if it fails again.`);
