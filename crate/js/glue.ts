// The exports of the wasm (crate/src/api), as the worker uses them.
import type { DeviceInfo, ModelInfo, Profile, TokenLogprob } from "./types.js";
import type { WireTensor } from "./tensor.js";
import type { WireValue } from "./wire.js";
import type { Ending, WireEmbed, WireGenerate } from "./messages.js";

export interface WasmLoader {
  /** Picks the device and tests it; before the first `push`. */
  openDevice(): Promise<Omit<DeviceInfo, "threads">>;
  /** Whether a file is wanted beside the ONNX file that has come. */
  wantsFile(name: string | undefined): boolean;
  /** Says which file comes next, and how many bytes it has, where that is known. */
  beginFile(bytes: number | undefined, name: string | undefined): void;
  /** First bytes of the next file of several, until its header is whole; of every file before any `push`. */
  pushHeader(chunk: Uint8Array): "more" | "whole" | "all" | "network";
  /** The next bytes in file order. */
  push(chunk: Uint8Array): Promise<void>;
  /** A file ended: fails when bytes of it are missing. */
  endOfFile(): void;
  progress(): { loadedBytes: number; expectedBytes?: number | null; tensor?: string | null };
  finish(): WasmModel;
  /** Whether the model turns texts into vectors. */
  isEncoder(): boolean;
  finishEncoder(): WasmEncoder;
  /** Whether the bytes pushed are an ONNX file. */
  isNetwork(): boolean;
  finishNetwork(): WasmNetwork;
  free(): void;
}

export interface WasmNetwork {
  info(): Pick<ModelInfo, "kind" | "architecture" | "bytes" | "layers" | "device" | "inputs" | "outputs" | "metadata">;
  /** Whether runs measure each launch from now on. */
  timeLaunches(on: boolean): void;
  /** Runs on values by name; the outputs come in order, those to keep as their numbers. A loop asks `pause` now and then whether it goes on. */
  run(names: string[], values: WireValue[], outputs: readonly string[], keep: readonly string[], pause: () => Promise<boolean>): Promise<WireValue[]>;
  /** A kept tensor. */
  read(kept: number): Promise<WireTensor>;
  drop(kept: number): void;
  profile(): Profile;
  free(): void;
}

export interface WasmEncoder {
  info(): Omit<ModelInfo, "inputs" | "outputs" | "metadata" | "quantization" | "hasChatTemplate">;
  tokenize(text: string, special: boolean): Uint32Array;
  detokenize(ids: Uint32Array): string;
  begin(texts: string[], options: WireEmbed): WasmEmbedding;
  profile(): Profile;
  free(): void;
}

export interface WasmEmbedding {
  /** One batch; at the end all vectors, one after the other. */
  next(): Promise<Float32Array | undefined>;
  free(): void;
}

export interface WasmStep {
  text: string;
  ids: Uint32Array | number[];
  logprobs?: TokenLogprob[];
  done?: Ending;
}

export interface WasmGeneration {
  /** One bounded piece of work: a chunk of the prompt, or one token. */
  next(): Promise<WasmStep>;
  free(): void;
}

export interface WasmModel {
  info(): Omit<ModelInfo, "inputs" | "outputs" | "metadata">;
  chatTemplate(): { template?: string | null; bosToken?: string | null; eosToken?: string | null };
  tokenize(text: string, special: boolean): Uint32Array;
  /** The ids of a text, behind the token that the model wants at the beginning. */
  promptIds(text: string): Uint32Array;
  detokenize(ids: Uint32Array): string;
  generate(ids: Uint32Array, options: WireGenerate): WasmGeneration;
  profile(): Profile;
  /** Log-probabilities of all ids but the first. */
  score(ids: Uint32Array): Promise<Float32Array>;
  free(): void;
}

/** The module that wasm-bindgen makes for one variant. */
export interface Glue {
  /** The memory is that of the threads' variants: left out, it is made. */
  default(init: { module_or_path: WebAssembly.Module; memory?: WebAssembly.Memory }): Promise<{ memory: WebAssembly.Memory }>;
  Loader: new (options: { device: string; contextLength?: number; exact: boolean }) => WasmLoader;
}

/** The same for a variant with threads. */
export interface ThreadGlue extends Glue {
  /** Counts this worker as a thread that is about to `serve`. */
  enterThread(): void;
  /** Makes this worker a thread; does not return. */
  serve(): void;
  /** After a trap inside `serve`. */
  threadEnded(): void;
}
