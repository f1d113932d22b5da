// The exports of the wasm (crate/src/api), as the worker uses them.
import type { DeviceInfo, ModelInfo, Profile, TokenLogprob } from "./types.js";
import type { WireTensor } from "./tensor.js";
import type { WireValue } from "./wire.js";
import type { Ending, WireEmbed, WireGenerate } from "./messages.js";

/** The device of one worker. */
export type DeviceHere = Omit<DeviceInfo, "workers">;
type Here<T extends { device: DeviceInfo }> = Omit<T, "device"> & { device: DeviceHere };
export type ProfileHere = Here<Profile>;

export interface WasmLoader {
  /** Picks the device and tests it; before the first `push`. */
  openDevice(): Promise<Omit<DeviceHere, "threads">>;
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
  /** Loads of a language model the part `index` of `of` alone; before the first byte. */
  share(index: number, of: number): void;
  /** The bytes that are wanted behind the headers, once these are there: file, start, end, and so on. */
  wanted(): Float64Array | undefined;
  /** Passes over bytes that are not wanted. */
  skip(n: number): void;
  progress(): { loadedBytes: number; expectedBytes?: number | null; tensor?: string | null };
  /** The language model; of its first part, with the way to the others. */
  finish(later: Later | undefined): WasmModel;
  finishLayers(): WasmLayers;
  /** Whether the model turns texts into vectors. */
  isEncoder(): boolean;
  finishEncoder(): WasmEncoder;
  /** Whether the bytes pushed are an ONNX file. */
  isNetwork(): boolean;
  finishNetwork(): WasmNetwork;
  free(): void;
}

/** Takes activations through layers that are elsewhere: those of tokens from `position` on, `[tokens, n]`; promises `rows` of what comes out. */
export type Later = (position: number, hidden: Float32Array, rows: Int32Array) => Promise<Float32Array>;

/** Layers of a language model that are not its first. */
export interface WasmLayers {
  /** What the next layers want, or behind the last one the `rows`. */
  run(position: number, hidden: Float32Array, rows: Int32Array): Float32Array<ArrayBuffer>;
  profile(): Profile["nodes"];
}

export interface WasmNetwork {
  info(): Pick<Here<ModelInfo>, "kind" | "architecture" | "bytes" | "layers" | "device" | "inputs" | "outputs" | "metadata">;
  /** Whether runs measure each launch from now on. */
  timeLaunches(on: boolean): void;
  /** Runs on values by name; the outputs come in order, those to keep as their numbers. A loop asks `pause` now and then whether it goes on. */
  run(names: string[], values: WireValue[], outputs: readonly string[], keep: readonly string[], pause: () => Promise<boolean>): Promise<WireValue[]>;
  /** A kept tensor. */
  read(kept: number): Promise<WireTensor>;
  drop(kept: number): void;
  profile(): ProfileHere;
  free(): void;
}

export interface WasmEncoder {
  info(): Omit<Here<ModelInfo>, "inputs" | "outputs" | "metadata" | "quantization" | "hasChatTemplate">;
  tokenize(text: string, special: boolean): Uint32Array;
  detokenize(ids: Uint32Array): string;
  begin(texts: string[], options: WireEmbed): WasmSteps;
  profile(): ProfileHere;
  free(): void;
}

/** Work step by step: of an encoder on texts (at the end all vectors, one after the other), or of a language model that scores one. */
export interface WasmSteps {
  /** One step; at the end all that was asked for. */
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
  info(): Omit<Here<ModelInfo>, "inputs" | "outputs" | "metadata">;
  chatTemplate(): { template?: string | null; bosToken?: string | null; eosToken?: string | null };
  tokenize(text: string, special: boolean): Uint32Array;
  /** The ids of a text, behind the token that the model wants at the beginning. */
  promptIds(text: string): Uint32Array;
  detokenize(ids: Uint32Array): string;
  generate(ids: Uint32Array, options: WireGenerate): WasmGeneration;
  /** With what later layers do for a token. */
  profile(later: Profile["nodes"]): ProfileHere;
  /** Log-probabilities of all ids but the first. */
  beginScore(ids: Uint32Array): WasmSteps;
  free(): void;
}

/** The module that wasm-bindgen makes for one variant. */
export interface Glue {
  /** The memory is that of the threads' variants: left out, it is made. */
  default(init: { module_or_path: WebAssembly.Module; memory?: WebAssembly.Memory }): Promise<{ memory: WebAssembly.Memory }>;
  Loader: new (options: { device: string; contextLength?: number; exact: boolean }) => WasmLoader;
  /** How fast this worker computes for so many milliseconds. */
  tryRate(ms: number): number;
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
