// Which wasm the browser can run, and its code.
import * as relaxed from "homefire-glue/relaxed";
import * as relaxedThreads from "homefire-glue/relaxed-threads";
import * as simd from "homefire-glue/simd";
import * as simdThreads from "homefire-glue/simd-threads";
import { HomefireError, messageOf } from "./errors.js";
import type { Glue, ThreadGlue } from "./glue.js";
import type { Compiled } from "./messages.js";

/** A module of one function: `i32.const 0, i8x16.splat` × operands, the instruction, `drop`. */
const moduleOf = (...body: number[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0,
    10, body.length + 5, 1, body.length + 3, 0, ...body, 26, 11,
  ]);
const splat = [65, 0, 253, 15];
const SIMD = moduleOf(...splat);
/** `i16x8.relaxed_dot_i8x16_i7x16_s` is instruction 0xfd 0x112. */
const RELAXED = moduleOf(...splat, ...splat, 253, 0x92, 0x02);

interface Variant {
  glue: Glue;
  url: () => URL;
}
/** Bundlers look for `new URL` with the file's name. */
const PLAIN = {
  simd: { glue: simd, url: () => new URL("./homefire.simd.wasm", import.meta.url) },
  relaxed: { glue: relaxed, url: () => new URL("./homefire.relaxed.wasm", import.meta.url) },
};
const THREADED = {
  "simd-threads": { glue: simdThreads, url: () => new URL("./homefire.simd-threads.wasm", import.meta.url) },
  "relaxed-threads": { glue: relaxedThreads, url: () => new URL("./homefire.relaxed-threads.wasm", import.meta.url) },
};
export type VariantName = keyof typeof PLAIN | keyof typeof THREADED;

/** The glue of a variant with threads. */
export function threadGlue(variant: VariantName): ThreadGlue {
  if (variant === "simd-threads" || variant === "relaxed-threads") return THREADED[variant].glue;
  throw new HomefireError("internal", `The variant ${variant} has no threads.`);
}

/** The wasm, ready to be used. */
export interface Opened {
  glue: Glue;
  compiled: Compiled;
  /** The memory that threads may share. */
  memory: WebAssembly.Memory | undefined;
  /** Why there are no threads, where they were wanted. */
  without: string | undefined;
}

/** The best variant that this browser runs, and its compiled code: what another worker compiled, if it is among that. */
export async function openVariant(known: readonly Compiled[], threads: boolean): Promise<Opened> {
  if (!WebAssembly.validate(SIMD)) {
    throw new HomefireError(
      "internal",
      "This browser has no WebAssembly SIMD, which Homefire needs. Chrome 91, Firefox 89, Safari 16.4 and later have it.",
    );
  }
  const plain = WebAssembly.validate(RELAXED) ? "relaxed" : "simd";
  let without: string | undefined;
  if (threads) {
    try {
      const threaded = `${plain}-threads` as const;
      const { compiled, memory } = await instantiate(threaded, THREADED[threaded], known);
      return { glue: THREADED[threaded].glue, compiled, memory, without };
    } catch (thrown) {
      // Some devices refuse a large shared memory.
      without = messageOf(thrown);
    }
  }
  const { compiled } = await instantiate(plain, PLAIN[plain], known);
  return { glue: PLAIN[plain].glue, compiled, memory: undefined, without };
}

async function instantiate(
  variant: VariantName,
  { glue, url }: Variant,
  known: readonly Compiled[],
): Promise<{ compiled: Compiled; memory: WebAssembly.Memory }> {
  try {
    const module = known.find((one) => one.variant === variant)?.module ?? (await compile(url()));
    const { memory } = await glue.default({ module_or_path: module });
    return { compiled: { variant, module }, memory };
  } catch (thrown) {
    throw new HomefireError(
      "fetch",
      `The package's own ${url().href} could not be loaded (${messageOf(thrown)}). ` +
        "Serve it beside the package's worker.js; `npx homefire copy FOLDER` copies both.",
    );
  }
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`status ${response.status}`);
  // A server that does not know the type of wasm files is no obstacle, only slower.
  if (response.headers.get("content-type")?.startsWith("application/wasm")) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}
