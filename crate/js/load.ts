// From a source and options to a model in a worker.
import { Client } from "./client.js";
import { HomefireError } from "./errors.js";
import { Pump } from "./loader.js";
import type { WireLoad, WirePart } from "./messages.js";
import { Model } from "./model.js";
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
  const wire = checked(source, options);
  const client = new Client();
  try {
    return await open(client, wire, options, true);
  } catch (thrown) {
    client.close(cancelled());
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
  async load(source: Source, options: LoadOptions = {}): Promise<Model> {
    const wire = checked(source, options);
    if (this.closed) throw new HomefireError("cancelled", "The runtime was closed.");
    if (this.client === undefined || this.client.ended) this.client = new Client();
    return open(this.client, wire, options, false);
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

/** Loads in a worker, which the model has for itself if it is `alone`. */
async function open(client: Client, wire: Checked, { signal, onProgress }: LoadOptions, alone: boolean): Promise<Model> {
  let id = 0;
  let abort = (): void => {};
  try {
    const info = await new Promise<ModelInfo>((resolve, fail) => {
      id = client.load(wire.load, {
        event: (event) => {
          if ("progress" in event) onProgress?.(event.progress);
          else if ("value" in event) resolve(event.value as ModelInfo);
        },
        fail,
        pump: wire.pump,
      });
      abort = () => {
        client.cancel(id);
        fail(cancelled());
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
    return new Model(client, id, info, alone);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

interface Checked {
  load: WireLoad;
  pump: Pump;
}

/** The options, checked, and the source in the form that the worker takes. */
function checked(source: Source, options: LoadOptions): Checked {
  const { signal, network = "allow", device = "auto", contextLength, chatTemplate, exact = false, threads } = options;
  if (signal?.aborted) throw cancelled();
  if (!["auto", "webgpu", "cpu"].includes(device)) {
    throw new HomefireError("invalid-input", `device is "${String(device)}"; it may be "auto", "webgpu" or "cpu".`);
  }
  if (contextLength !== undefined && !(Number.isInteger(contextLength) && contextLength > 0)) {
    throw new HomefireError("invalid-input", `contextLength is ${String(contextLength)}; it must be a whole number above 0.`);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
    throw new HomefireError("invalid-input", `threads is ${String(threads)}; it must be a whole number from 1 to 64.`);
  }
  const list: readonly SourcePart[] = Array.isArray(source) ? (source as readonly SourcePart[]) : [source as SourcePart];
  if (list.length === 0) throw new HomefireError("invalid-input", "The list of files is empty.");
  const pump = new Pump();
  const parts = list.map((part) => toWire(part, pump, network));
  return { load: { parts, device, contextLength, chatTemplate, network, exact, threads }, pump };
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
  if (part instanceof Response) {
    if (part.ok && !part.bodyUsed) return { ...pump.add(part), name: part.url ? nameOf(new URL(part.url)) : undefined };
    throw new HomefireError("fetch", part.bodyUsed ? "The Response was read already." : `The Response has status ${part.status}.`);
  }
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
