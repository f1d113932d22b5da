/**
 * The interface of onnxruntime-web on this package: code written for that runs after changing the import.
 *
 * ```js
 * import * as ort from "homefire/ort";
 * const session = await ort.InferenceSession.create("/model.onnx", { executionProviders: ["webgpu", "wasm"] });
 * const { logits } = await session.run({ image: new ort.Tensor("float32", pixels, [1, 3, 224, 224]) });
 * ```
 * @module
 */
import { DeviceTensor, HomefireError, load, type Model, type Port, Tensor as Own, type Value } from "../index.js";
import { fromOwn, Tensor } from "./tensor.js";

export type { FromImageOptions, ImageSource } from "./image.js";
export { Tensor, type TypedTensor } from "./tensor.js";

/** What a session takes and gives: tensors, and beyond onnxruntime-web sequences and absent values. */
export type OnnxValue = Tensor | readonly OnnxValue[] | null;

type Provider = string | { readonly name: string };

/** A loaded model, as onnxruntime-web has it. */
export class InferenceSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];

  private constructor(
    private readonly model: Model,
    private readonly options: InferenceSession.SessionOptions,
  ) {
    this.inputNames = model.info.inputs.map(({ name }) => name);
    this.outputNames = model.info.outputs.map(({ name }) => name);
  }

  /** Loads an ONNX file from its address or its bytes. */
  static create(uri: string, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  static create(buffer: ArrayBufferLike | Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  static create(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength?: number,
    options?: InferenceSession.SessionOptions,
  ): Promise<InferenceSession>;
  static async create(source: string | ArrayBufferLike | Uint8Array, ...rest: unknown[]): Promise<InferenceSession> {
    let from: string | Uint8Array;
    if (typeof source === "string" || source instanceof Uint8Array) from = source;
    else if (source instanceof ArrayBuffer || Object.prototype.toString.call(source) === "[object SharedArrayBuffer]") {
      const offset = typeof rest[0] === "number" ? (rest.shift() as number) : 0;
      const length = typeof rest[0] === "number" ? (rest.shift() as number) : source.byteLength - offset;
      from = new Uint8Array(source, offset, length);
    } else throw new TypeError("Unexpected argument[0]: must be 'path' or 'buffer'.");
    const options = rest.find((item) => item !== undefined) ?? {};
    if (typeof options !== "object" || options === null) throw new TypeError("'options' must be an object.");
    return new InferenceSession(await open(from, options), options);
  }

  /** Computes the outputs, or those in `fetches`: names, or an object with `null` or a tensor to be filled for each. */
  run(feeds: InferenceSession.FeedsType, options?: InferenceSession.RunOptions): Promise<InferenceSession.ReturnType>;
  run(feeds: InferenceSession.FeedsType, fetches: InferenceSession.FetchesType, options?: InferenceSession.RunOptions): Promise<InferenceSession.ReturnType>;
  async run(feeds: InferenceSession.FeedsType, second?: InferenceSession.FetchesType | InferenceSession.RunOptions): Promise<InferenceSession.ReturnType> {
    if (typeof feeds !== "object" || feeds === null || feeds instanceof Tensor || Array.isArray(feeds)) {
      throw new TypeError("'feeds' must be an object that use input names as keys and OnnxValue as corresponding values.");
    }
    const fetches = this.fetches(second);
    const missing = this.inputNames.find((name) => feeds[name] === undefined);
    if (missing !== undefined) throw new Error(`input '${missing}' is missing in 'feeds'.`);
    const inputs = Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, toOwn(value)]));
    const outputs = Object.keys(fetches);
    const { preferredOutputLocation: where = "cpu" } = this.options;
    const keep = outputs.filter((name) => (typeof where === "string" ? where : (where[name] ?? "cpu")) !== "cpu");
    const computed = await this.model.run<Record<string, Value | DeviceTensor>>(inputs, { outputs, keep });
    return Object.fromEntries(outputs.map((name) => [name, filled(name, fetches[name] ?? null, toOrt(computed[name] ?? null))]));
  }

  /** Frees the model and its worker. */
  release(): Promise<void> {
    return this.model.close();
  }

  get inputMetadata(): readonly InferenceSession.ValueMetadata[] {
    return this.model.info.inputs.map(metadata);
  }

  get outputMetadata(): readonly InferenceSession.ValueMetadata[] {
    return this.model.info.outputs.map(metadata);
  }

  /** Does nothing: `Model.profile()` of homefire tells what runs. */
  startProfiling(): void {}

  /** Does nothing. */
  endProfiling(): void {}

  private fetches(second: unknown): Record<string, Tensor | null> {
    const all = (names: readonly string[]): Record<string, null> => Object.fromEntries(names.map((name) => [name, null]));
    if (second === null) throw new TypeError("Unexpected argument[1]: cannot be null.");
    if (second instanceof Tensor) throw new TypeError("'fetches' cannot be a Tensor");
    if (second !== undefined && typeof second !== "object") throw new TypeError("Unexpected argument[1]: must be 'fetches' or 'options'.");
    if (Array.isArray(second)) {
      if (second.length === 0) throw new TypeError("'fetches' cannot be an empty array.");
      const unknown = second.find((name) => !this.outputNames.includes(name as string));
      if (unknown !== undefined) throw new RangeError(`'fetches' contains invalid output name: ${String(unknown)}.`);
      return all(second as string[]);
    }
    const named = Object.entries(second ?? {}).filter(
      ([name, value]) => this.outputNames.includes(name) && (value === null || value instanceof Tensor),
    );
    return named.length > 0 ? (Object.fromEntries(named) as Record<string, Tensor | null>) : all(this.outputNames);
  }
}

// eslint-disable-next-line @typescript-eslint/no-namespace
export declare namespace InferenceSession {
  type FeedsType = Readonly<Record<string, OnnxValue>>;
  type FetchesType = readonly string[] | Readonly<Record<string, Tensor | null>>;
  // Code that reads outputs takes them as tensors.
  type ReturnType = Readonly<Record<string, Tensor>>;
  interface SessionOptions {
    /** In the order of preference: `webgpu` (also `webgl`, `webnn`), `wasm` (also `cpu`); the CPU where left out. */
    executionProviders?: readonly Provider[];
    /** Where outputs stay: all but `cpu` keeps them with the model until `getData()` or `dispose()`. */
    preferredOutputLocation?: Tensor.DataLocation | Readonly<Record<string, Tensor.DataLocation>>;
    /** The files beside the model that have its weights: with the path that the model names them by, or addresses. */
    externalData?: readonly (ExternalData | string)[];
    // Taken, and of no effect here.
    intraOpNumThreads?: number;
    interOpNumThreads?: number;
    freeDimensionOverrides?: Readonly<Record<string, number>>;
    graphOptimizationLevel?: "disabled" | "basic" | "extended" | "layout" | "all";
    enableCpuMemArena?: boolean;
    enableMemPattern?: boolean;
    executionMode?: "sequential" | "parallel";
    optimizedModelFilePath?: string;
    enableProfiling?: boolean;
    profileFilePrefix?: string;
    logId?: string;
    logSeverityLevel?: 0 | 1 | 2 | 3 | 4;
    logVerbosityLevel?: number;
    enableGraphCapture?: boolean;
    extra?: Record<string, unknown>;
  }
  interface ExternalData {
    readonly path: string;
    readonly data: string | URL | Blob | ArrayBuffer | Uint8Array;
  }
  interface RunOptions {
    logSeverityLevel?: 0 | 1 | 2 | 3 | 4;
    logVerbosityLevel?: number;
    terminate?: boolean;
    tag?: string;
    extra?: Record<string, unknown>;
  }
  type ValueMetadata =
    | { readonly name: string; readonly isTensor: false }
    | { readonly name: string; readonly isTensor: true; readonly type: Tensor.Type; readonly shape: readonly (number | string)[] };
}

/** The settings of onnxruntime-web: `wasm.numThreads` counts for what is loaded from then on, others are taken and have no effect. */
export const env = {
  wasm: {} as Record<string, unknown>,
  webgl: {} as Record<string, unknown>,
  webgpu: {} as Record<string, unknown>,
  webnn: {} as Record<string, unknown>,
  versions: { common: "1.30.0" } as Record<string, string>,
  logLevel: "warning" as "verbose" | "info" | "warning" | "error" | "fatal",
  debug: false,
  trace: false,
};

/** Loads on the first of the providers that can. */
async function open(source: string | Uint8Array, { executionProviders = ["wasm"], externalData = [] }: InferenceSession.SessionOptions): Promise<Model> {
  const others = externalData.map((item) => (typeof item === "string" ? item : { name: item.path, data: item.data }));
  // The model is the part with this name, whatever its own is.
  const parts = others.length > 0 ? [{ name: "model.onnx", data: source }, ...others] : source;
  const names = executionProviders.map((provider) => (typeof provider === "string" ? provider : provider.name));
  const devices = names.flatMap((name) =>
    ["webgpu", "webgl", "webnn"].includes(name) ? ["webgpu" as const] : ["wasm", "cpu"].includes(name) ? ["cpu" as const] : [],
  );
  const [first, ...fallbacks] = [...new Set(devices)];
  if (!first) throw new Error(`no available backend found. ERR: ${names.map((name) => `[${name}] backend not found.`).join(", ")}`);
  const { numThreads } = env.wasm;
  const threads = typeof numThreads === "number" && numThreads >= 1 ? Math.min(64, Math.floor(numThreads)) : undefined;
  try {
    return await load(parts, { device: first, threads });
  } catch (thrown) {
    const cannot = thrown instanceof HomefireError && (thrown.kind === "no-webgpu" || thrown.kind === "unsupported-op");
    if (!cannot || !fallbacks[0]) throw thrown;
    return load(parts, { device: fallbacks[0], threads });
  }
}

function toOwn(value: OnnxValue): never {
  if (value === null) return null as never;
  if (Array.isArray(value)) return value.map(toOwn) as never;
  const tensor = value as Tensor;
  return (tensor instanceof Tensor ? tensor.own() : new Tensor((tensor as Tensor).type, (tensor as Tensor).data as never, (tensor as Tensor).dims).own()) as never;
}

function toOrt(value: Value | DeviceTensor): Tensor {
  if (value instanceof Own) return fromOwn(value);
  if (value instanceof DeviceTensor) return Tensor.keep(value);
  return (Array.isArray(value) ? value.map(toOrt) : null) as unknown as Tensor;
}

/** The tensor that the caller gave for an output, filled with what was computed; that itself where none was given. */
function filled(name: string, into: Tensor | null, computed: Tensor): Tensor {
  if (into === null) return computed;
  if (into.type !== computed.type || into.dims.join() !== computed.dims.join()) {
    throw new Error(`The tensor given for the output '${name}' is ${into.type}[${into.dims}], and ${computed.type}[${computed.dims}] was computed.`);
  }
  if (into.type === "string") (into.data as unknown as string[]).splice(0, into.size, ...(computed.data as unknown as string[]));
  else (into.data as unknown as { set(data: unknown): void }).set(computed.data);
  return into;
}

function metadata({ name, kind, type, dims }: Port): InferenceSession.ValueMetadata {
  if (kind !== undefined || type === undefined) return { name, isTensor: false };
  return { name, isTensor: true, type: type as Tensor.Type, shape: (dims ?? []).map((dim) => dim ?? "") };
}

export default { InferenceSession, Tensor, env };
