// The page's end of the wire to one worker.
import { callFor, lookForAnswer, newBell, QUICK_MS, ring } from "./bell.js";
import { fromPlain, HomefireError, messageOf, toPlain } from "./errors.js";
import type { Pump } from "./loader.js";
import type { Answers, Call, Compiled, Event, ModelCall, WireLoad } from "./messages.js";
import type { VariantName } from "./variant.js";

export interface Handlers {
  event: (event: Event) => void;
  fail: (error: HomefireError) => void;
  /** What hears the events of the call once it is cancelled: the worker may have been faster. */
  late?: (event: Event) => void;
  /** The model that is asked. */
  model?: number;
  /** The bytes that the page holds for a load. */
  pump?: Pump;
  cancelled?: true;
}

/** What the workers of the page compiled, for those after them. */
const compiled = new Map<VariantName, Compiled>();

const deaf = (): void => {};

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

  /** Fails where there are no workers. */
  static check(): void {
    if (typeof Worker !== "undefined") return;
    throw new HomefireError("internal", "load() needs a browser: there is no Worker here. Call it on the client only.");
  }

  constructor() {
    try {
      this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "homefire" });
    } catch (thrown) {
      throw new HomefireError(
        "fetch",
        `The package's worker.js could not be started (${messageOf(thrown)}). ` +
          "Browsers start workers from the page's own origin only: serve the package from there.",
      );
    }
    this.worker.onmessageerror = () => this.close(broken("a message of it could not be read"));
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
    return this.start((id) => ({ id, call: "load", load, compiled: [...compiled.values()], bell: this.bell }), handlers);
  }

  /** Asks a model; events of this call go to the handlers until it ends. Returns the call's number. */
  call(model: number, call: ModelCall, handlers: Omit<Handlers, "model">, transfer: Transferable[] = []): number {
    return this.start((id) => ({ ...call, id, model }), { ...handlers, model }, transfer);
  }

  /** Asks a model for one value. */
  ask<C extends ModelCall>(model: number, call: C): Promise<Answers[C["call"]]> {
    return new Promise((resolve, fail) => {
      this.call(model, call, { event: (event) => "value" in event && resolve(event.value as Answers[C["call"]]), fail });
    });
  }

  /** Drops a call, which is not heard of again; the worker stops what it does for it as soon as it can. */
  cancel(id: number): void {
    const handlers = this.open.get(id);
    if (!handlers || handlers.cancelled) return;
    // Until the worker has answered it, it is not free for others.
    this.open.set(id, { ...handlers, event: handlers.late ?? deaf, fail: deaf, cancelled: true });
    this.post({ id, call: "cancel" });
  }

  /** Drops the calls that one model has not answered, with `error`, and frees it. */
  closeModel(model: number, error: HomefireError): Promise<void> {
    for (const [id, handlers] of this.open) {
      if (handlers.model !== model || handlers.cancelled) continue;
      this.cancel(id);
      handlers.fail(error);
    }
    // A worker that has ended has freed it.
    return this.ask(model, { call: "close" }).catch(() => undefined);
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
      handlers.fail(new HomefireError("invalid-input", `What was given cannot be sent to the worker: ${messageOf(thrown)}`));
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
      compiled.set(event.compiled.variant, event.compiled);
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
      if ("value" in event) this.open.delete(id);
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
