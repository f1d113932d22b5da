/**
 * Homefire runs language models inside the web page.
 *
 * ```js
 * import { load } from "homefire";
 * const model = await load("/models/smollm2-135m-q4_1.gguf");
 * for await (const { text } of model.chat([{ role: "user", content: "Hello!" }])) console.log(text);
 * ```
 * @module
 */
import { Client } from "./client.js";
import { HomefireError } from "./errors.js";
import { Pump } from "./loader.js";
import type { WirePart } from "./messages.js";
import { Model } from "./model.js";
import type { LoadOptions, ModelInfo, Source, SourcePart } from "./types.js";

export { HomefireError, type ErrorKind } from "./errors.js";
export { Generation } from "./generation.js";
export { Model } from "./model.js";
export type * from "./types.js";

/**
 * Loads a model from a URL, a file, or bytes; shards in order. Everything runs in a worker of its own.
 * Nothing is fetched but what `source` names (and the package's own worker and wasm).
 *
 * @throws {HomefireError} `fetch` when the bytes cannot be had, `format` or `unsupported-format` when they are
 * not a model that this version runs, `no-webgpu` when WebGPU was demanded and does not work,
 * `cancelled` when the signal is aborted.
 */
export async function load(source: Source, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress, network = "allow", device = "auto" } = options;
  const cancelled = (): HomefireError => new HomefireError("cancelled", "Loading was cancelled by its signal.");
  if (signal?.aborted) throw cancelled();
  if (!["auto", "webgpu", "cpu"].includes(device)) {
    throw new HomefireError("invalid-input", `device is "${String(device)}"; it may be "auto", "webgpu" or "cpu".`);
  }
  const { contextLength } = options;
  if (contextLength !== undefined && !(Number.isInteger(contextLength) && contextLength > 0)) {
    throw new HomefireError("invalid-input", `contextLength is ${String(contextLength)}; it must be a whole number above 0.`);
  }
  const list: readonly SourcePart[] = Array.isArray(source) ? (source as readonly SourcePart[]) : [source as SourcePart];
  if (list.length === 0) throw new HomefireError("invalid-input", "The list of shards is empty.");
  const pump = new Pump();
  const parts = list.map((part) => toWire(part, pump, network));
  const client = new Client(pump);
  const abort = (): void => client.close(cancelled());
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const load = { parts, device, contextLength, chatTemplate: options.chatTemplate, network, exact: options.exact ?? false };
    const info = await client.ask<ModelInfo>({ call: "load", load }, (event) => {
      if ("progress" in event) onProgress?.(event.progress);
    });
    return new Model(client, info);
  } catch (thrown) {
    client.close(cancelled());
    throw thrown;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** A part of a source in the form that the worker takes. */
function toWire(part: SourcePart, pump: Pump, network: "allow" | "none"): WirePart {
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
    return { url: url.href };
  }
  if (part instanceof Blob) return { blob: part };
  if (part instanceof Response) {
    if (part.ok && !part.bodyUsed) return pump.add(part);
    throw new HomefireError("fetch", part.bodyUsed ? "The Response was read already." : `The Response has status ${part.status}.`);
  }
  if (part instanceof ArrayBuffer || part instanceof Uint8Array) return pump.add(part);
  throw new HomefireError("invalid-input", "A source is a URL, a File, a Blob, bytes, a Response, or a list of these.");
}
