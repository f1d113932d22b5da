// Which wasm the browser can run, and its code.
import * as relaxed from "homefire-glue/relaxed";
import * as simd from "homefire-glue/simd";
import { HomefireError } from "./errors.js";
import type { Glue } from "./glue.js";
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

/** The best variant that this browser validates, ready, and its compiled code: what another worker compiled, if it did. */
export async function openVariant(known: Compiled | undefined): Promise<{ glue: Glue; compiled: Compiled }> {
  if (!WebAssembly.validate(SIMD)) {
    throw new HomefireError(
      "internal",
      "This browser has no WebAssembly SIMD, which Homefire needs. Chrome 91, Firefox 89, Safari 16.4 and later have it.",
    );
  }
  const variant = known?.variant ?? (WebAssembly.validate(RELAXED) ? "relaxed" : "simd");
  const [glue, url]: [Glue, URL] =
    variant === "relaxed"
      ? [relaxed, new URL("./homefire.relaxed.wasm", import.meta.url)]
      : [simd, new URL("./homefire.simd.wasm", import.meta.url)];
  try {
    const module = known?.module ?? (await compile(url));
    await glue.default({ module_or_path: module });
    return { glue, compiled: { variant, module } };
  } catch (thrown) {
    throw new HomefireError(
      "fetch",
      `The package's own ${url.href} could not be loaded (${thrown instanceof Error ? thrown.message : String(thrown)}). ` +
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
