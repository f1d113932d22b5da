// From a source and options to a model in a worker.
import { onAbort } from "./abort.js";
import { Client } from "./client.js";
import { HomefireError } from "./errors.js";
import { Pump } from "./loader.js";
import type { WireLoad, WirePart } from "./messages.js";
import { Model } from "./model.js";
import { checkOptions } from "./options.js";
import type { LoadOptions, ModelInfo, Source, SourcePart } from "./types.js";

const cancelled = (): HomefireError => new HomefireError("cancelled", "Loading was cancelled by its signal.");

/**
 * Loads a model from a URL, a file, or bytes, or a list of these where it is in several files. Everything runs in a worker of its own.
 * Nothing is fetched but what `source` names (and the package's own worker and wasm).
 *
 * @throws {HomefireError} `fetch` when the bytes cannot be had, `format` or `unsupported-format` when they are
 * not a model that this version runs, `no-webgpu` when WebGPU was demanded and does not work,
 * `cancelled` when the signal is aborted.
 */
export async function load(source: Source, options: LoadOptions = {}): Promise<Model> {
  const own: { client?: Client } = {};
  try {
    return await open(() => (own.client = new Client()), source, options, true);
  } catch (thrown) {
    own.client?.close(cancelled());
    throw thrown;
  }
}

/**
 * One worker for several models: they share its wasm and its memory, and take turns on its thread. It spares the
 * start of a worker for each of them, where they are used one after the other anyway. The models live until they
 * or the runtime are closed.
 *
 * ```js
 * const runtime = new Runtime();
 * const [detector, reader] = [await runtime.load("detect.onnx"), await runtime.load("read.onnx")];
 * ```
 */
export class Runtime {
  private client: Client | undefined;
  private closed = false;

  /**
   * As the function `load()`, in this runtime's worker; with `network: "none"` nothing in the worker may fetch from
   * then on. A worker that failed is replaced by the next load.
   */
  load(source: Source, options: LoadOptions = {}): Promise<Model> {
    const client = (): Client => {
      if (this.closed) throw new HomefireError("cancelled", "The runtime was closed.");
      return (this.client = this.client?.ended === false ? this.client : new Client());
    };
    return open(client, source, options, false);
  }

  /** Ends the worker and with it all its models. Unfinished runs and generations reject with kind `cancelled`. */
  async close(): Promise<void> {
    this.closed = true;
    this.client?.close(new HomefireError("cancelled", "The runtime was closed."));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Loads in the worker that `clientOf` gives, which the model has for itself if it is `alone`. */
async function open(clientOf: () => Client, source: Source, options: LoadOptions, alone: boolean): Promise<Model> {
  Client.check();
  const pump = new Pump();
  let off = (): void => {};
  try {
    const load = checked(source, options, pump);
    const { signal, onProgress } = options;
    const client = clientOf();
    let id = 0;
    const info = await new Promise<ModelInfo>((resolve, fail) => {
      id = client.load(load, {
        event: (event) => {
          if ("progress" in event) onProgress?.(event.progress);
          else if ("value" in event) resolve(event.value as ModelInfo);
        },
        fail,
        pump,
      });
      off = onAbort(signal, () => {
        client.cancel(id);
        fail(cancelled());
      });
    });
    return new Model(client, id, info, alone);
  } finally {
    off();
    pump.cancel();
  }
}

/** The options, checked, and the source in the form that the worker takes; `pump` gets what the page holds of it. */
function checked(source: Source, options: LoadOptions, pump: Pump): WireLoad {
  checkOptions("load", options);
  const { signal, network = "allow", device = "auto", contextLength, chatTemplate, exact = false, threads } = options;
  if (signal?.aborted) throw cancelled();
  oneOf("device", device, ["auto", "webgpu", "cpu"]);
  oneOf("network", network, ["allow", "none"]);
  if (contextLength !== undefined && !(Number.isInteger(contextLength) && contextLength > 0)) {
    throw new HomefireError("invalid-input", `contextLength is ${String(contextLength)}; it must be a whole number above 0.`);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
    throw new HomefireError("invalid-input", `threads is ${String(threads)}; it must be a whole number from 1 to 64.`);
  }
  const list: readonly SourcePart[] = Array.isArray(source) ? (source as readonly SourcePart[]) : [source as SourcePart];
  if (list.length === 0) throw new HomefireError("invalid-input", "The list of files is empty.");
  const parts = list.map((part) => toWire(part, pump, network));
  return { parts, device, contextLength, chatTemplate, network, exact, threads };
}

function oneOf(name: string, value: string, all: readonly string[]): void {
  if (all.includes(value)) return;
  throw new HomefireError("invalid-input", `${name} is "${String(value)}"; it may be ${all.map((one) => `"${one}"`).join(" or ")}.`);
}

/** A part of a source in the form that the worker takes. */
function toWire(part: SourcePart, pump: Pump, network: "allow" | "none"): WirePart {
  if (typeof part === "object" && part !== null && "data" in part && "name" in part) {
    if (typeof part.name === "string" && part.name !== "") return { ...toWire(part.data, pump, network), name: part.name };
    throw new HomefireError("invalid-input", `The name of a part is ${JSON.stringify(part.name)}; it must be a text.`);
  }
  if (typeof part === "string" || part instanceof URL) {
    let url: URL;
    try {
      url = new URL(part, globalThis.document?.baseURI ?? globalThis.location?.href);
    } catch {
      throw new HomefireError("invalid-input", `"${String(part)}" is not a URL.`);
    }
    if (network === "none" && url.protocol !== "blob:" && url.protocol !== "data:") {
      throw new HomefireError("fetch", `network: "none" forbids fetching ${url.href}. Give a File, a Blob or the bytes instead.`);
    }
    return { url: url.href, name: nameOf(url) };
  }
  if (part instanceof Blob) return { blob: part, name: part instanceof File ? part.name : undefined };
  if (part instanceof Response) return { ...pump.add(part), name: part.url ? nameOf(new URL(part.url)) : undefined };
  if (part instanceof ArrayBuffer || part instanceof Uint8Array) return pump.add(part);
  throw new HomefireError("invalid-input", "A source is a URL, a File, a Blob, bytes, a Response, one of these as { name, data }, or a list of them.");
}

/** The path of an address; none where it says nothing. */
function nameOf({ protocol, pathname }: URL): string | undefined {
  if (protocol === "blob:" || protocol === "data:") return undefined;
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname;
  }
}
