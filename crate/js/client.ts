// The page's end of the wire to one worker.
import { fromPlain, HomefireError, toPlain } from "./errors.js";
import type { Pump } from "./loader.js";
import type { Call, Event } from "./messages.js";

type Handlers = { event: (event: Event) => void; fail: (error: HomefireError) => void };
type Unnumbered<T> = T extends unknown ? Omit<T, "id"> : never;

/** Starts a worker and numbers the calls to it. @internal */
export class Client {
  private readonly worker: Worker;
  private readonly open = new Map<number, Handlers>();
  private ids = 0;
  private dead: HomefireError | undefined;

  constructor(private readonly pump: Pump) {
    if (typeof Worker === "undefined") {
      throw new HomefireError("internal", "load() needs a browser: there is no Worker here. Call it on the client only.");
    }
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "homefire" });
    this.worker.onmessage = ({ data }: MessageEvent<Event>) => void this.receive(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.close(
        event.message
          ? new HomefireError("internal", `The worker failed: ${event.message}`)
          : new HomefireError(
              "fetch",
              "The package's worker.js could not be started. If your bundler does not put it beside the bundle, run " +
                "`npx homefire copy FOLDER` with the folder of the bundle.",
            ),
      );
    };
  }

  /** Calls the worker; events of this call go to the handlers until it ends. Returns the call's number. */
  start(call: Unnumbered<Exclude<Call, { call: "cancel" | "chunk" }>>, handlers: Handlers): number {
    const id = ++this.ids;
    if (this.dead) {
      handlers.fail(this.dead);
      return id;
    }
    this.open.set(id, handlers);
    this.worker.postMessage({ ...call, id });
    return id;
  }

  /** Calls the worker for one value. */
  ask<T>(call: Unnumbered<Exclude<Call, { call: "cancel" | "chunk" | "generate" }>>, other?: (event: Event) => void): Promise<T> {
    return new Promise((resolve, fail) => {
      this.start(call, {
        event: (event) => ("value" in event ? resolve(event.value as T) : other?.(event)),
        fail,
      });
    });
  }

  cancel(id: number): void {
    if (this.open.delete(id)) this.worker.postMessage({ id, call: "cancel" });
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

  private async receive(event: Event): Promise<void> {
    const { id } = event;
    if ("pull" in event) {
      try {
        const bytes = await this.pump.next(event.pull);
        const whole = bytes && bytes.byteLength === bytes.buffer.byteLength;
        this.worker.postMessage({ id, call: "chunk", bytes }, whole ? [bytes.buffer] : []);
      } catch (thrown) {
        this.worker.postMessage({ id, call: "chunk", bytes: null, error: toPlain(thrown) });
      }
      return;
    }
    const handlers = this.open.get(id);
    if (!handlers) return;
    if ("error" in event || "done" in event || "value" in event) this.open.delete(id);
    if ("error" in event) handlers.fail(fromPlain(event.error));
    else handlers.event(event);
  }
}
