import type { DeviceTensor } from "./kept.js";
import type { TensorData, TensorLike, TensorType } from "./tensor.js";

/** Where bytes come from. */
export type SourceBytes = string | URL | File | Blob | ArrayBuffer | Uint8Array | Response;

/** One part of a model: where its bytes come from, and its name where they have none of their own, as addresses and Files do. */
export type SourcePart = SourceBytes | { name: string; data: SourceBytes };

/** A model: one file, or all files of one. Shards come in order; other files in any. */
export type Source = SourcePart | readonly SourcePart[];

/** How far loading is. */
export interface Progress {
  phase: "download" | "compile" | "ready";
  loadedBytes: number;
  /** `null` where the source does not say how long it is. */
  totalBytes: number | null;
  /** Seconds since loading started. */
  seconds: number;
  bytesPerSecond: number;
  /** `null` while unknown. */
  remainingSeconds: number | null;
  /** The tensor being read. */
  tensor?: string;
}

export interface LoadOptions {
  /** Where to run: `auto` (default) takes WebGPU where it works, else the CPU; the first run of a small network may move it to the CPU. */
  device?: "auto" | "webgpu" | "cpu";
  /** Hears how far loading is, some twenty times a second. */
  onProgress?: (progress: Progress) => void;
  /** Aborting it stops the download and the load; the promise rejects with kind `cancelled`. */
  signal?: AbortSignal;
  /** Tokens that a prompt and its answer may take together; the model's own limit if left out (at most 4096). */
  contextLength?: number;
  /** A Jinja chat template, instead of the model's. */
  chatTemplate?: string;
  /** `allow` (default), or `none`: refuse any source that would need the network, and let nothing in the worker fetch. */
  network?: "allow" | "none";
  /** f32 activations everywhere, to reproduce a reference; slower (default false). */
  exact?: boolean;
  /**
   * How many threads the CPU may use, 1 to 64; by default as many as the machine has cores, of more than four the half,
   * eight at most. More than one needs a page that is cross-origin isolated; elsewhere up to four workers share the layers of a
   * language model, if that makes it faster. `info.device` says how many there are, and why.
   * In a `Runtime` its first load decides on threads.
   */
  threads?: number;
}

/** The device that runs a model, and why it was taken. */
export interface DeviceInfo {
  kind: "webgpu" | "cpu";
  reason: string;
  adapter?: string;
  /** The kernels in use, `relaxed-simd` or `simd` on the CPU, `baseline` on WebGPU. */
  variant: string;
  /** The threads that the CPU's part runs on. */
  threads: number;
  /** The workers that share a language model's layers, each in a memory of its own, where there can be no threads. */
  workers: number;
}

/** What a model is. What only models of another kind have is 0, empty or false. */
export interface ModelInfo {
  /** A language model has `chat()` and `complete()`, an encoder `embed()`, a network (an ONNX file) `run()`. */
  kind: "language" | "encoder" | "network";
  name: string;
  architecture: string;
  parameters: number;
  quantization: string;
  /** Tokens that a prompt and its answer may take together; of an encoder, those of a text. */
  contextLength: number;
  trainedContextLength: number;
  vocabularySize: number;
  /** Of an encoder: the elements of a vector. */
  embeddingLength: number;
  /** Of a network: the nodes of its graph. */
  layers: number;
  /** Bytes of the weights; of a network, of its file. */
  bytes: number;
  device: DeviceInfo;
  hasChatTemplate: boolean;
  /** What `run()` wants; empty for a language model. */
  inputs: Port[];
  /** What `run()` gives; empty for a language model. */
  outputs: Port[];
  /** What an ONNX file says beside its graph, such as the characters that a recogniser knows. */
  metadata: Record<string, string>;
}

/** An input or output of a network, as its file declares it. */
export interface Port {
  name: string;
  /** What it takes or gives, where that is not a tensor: an array of tensors, or a value or `null`. */
  kind?: "sequence" | "optional" | "map";
  type?: TensorType;
  /** Numbers, names of sizes that may vary, and `null` where nothing is said. */
  dims?: (number | string | null)[];
}

/**
 * What `run()` takes for an input: a tensor or a plain object like one; a typed array where the model's declaration
 * decides its shape; what an earlier run kept; an array of tensors for a sequence; `null` for an absent optional value.
 */
export type Input =
  | TensorLike
  | DeviceTensor
  | Exclude<TensorData, string[]>
  | readonly (TensorLike | DeviceTensor)[]
  | null;

export interface RunOptions {
  /** The outputs wanted; all where left out. */
  outputs?: readonly string[];
  /** Outputs that stay with the model: a `DeviceTensor` comes for each, to be given to later runs or read. */
  keep?: readonly string[];
  /**
   * Measures each launch for `profile()`. On WebGPU that makes the run slower; where the browser has no timestamps, the
   * first launch of each part of the run has the time of all. On the CPU two runs in sixteen are measured in any case.
   */
  profile?: boolean;
  /** Moves the buffers of the inputs to the worker instead of copying them: they are empty for the caller from then on. */
  transfer?: boolean;
  /** Aborting it drops a run that waits for its turn, or ends one in a loop; the run rejects with kind `cancelled`. */
  signal?: AbortSignal;
}

export interface EmbedOptions {
  /** How the vectors of a text's tokens become one; as the model's own files say where left out, else their mean. */
  pooling?: "mean" | "cls" | "last" | "mean-sqrt";
  /** Whether vectors get the length 1, so that dot products are cosines; as the model's own files say, else yes. */
  normalize?: boolean;
  /** Aborting it stops after the batch under way; the call rejects with kind `cancelled`. */
  signal?: AbortSignal;
}

export interface ScoreOptions {
  /** Aborting it stops after the tokens under way; the call rejects with kind `cancelled`. */
  signal?: AbortSignal;
}

/** One message of a conversation. What else it has, such as `tool_calls`, goes to the chat template. */
export interface Message {
  role: "system" | "user" | "assistant" | (string & {});
  /** A text, or parts of one, which are joined; parts of other types, such as images, are refused. */
  content: string | readonly { type: "text"; text: string }[];
}

export interface GenerateOptions {
  /** New tokens at most; no bound but the context where left out. 0 only reads the prompt into the cache. */
  maxTokens?: number;
  /** At least 0; 0 (default) takes the likeliest token each time, whatever the options down to `minP` say. */
  temperature?: number;
  /** Only so many of the likeliest tokens; 0 (default): all. */
  topK?: number;
  /** Of these only the likeliest, up to this share of the probability, above 0 and at most 1 (default: all). */
  topP?: number;
  /** Of these only tokens at least this many times as likely as the likeliest, 0 (default: all) to 1. */
  minP?: number;
  /** Makes tokens that occurred less likely, above 0: their logits are divided by it, negative ones multiplied (default 1: none). */
  repetitionPenalty?: number;
  /** Taken from a token's logit for each time that it occurred (default 0). */
  frequencyPenalty?: number;
  /** Taken from the logit of a token that occurred (default 0). */
  presencePenalty?: number;
  /** How many of the last tokens, those of the prompt included, the penalties look at (default 64). */
  penaltyWindow?: number;
  /** A whole number of at least 0: the same one draws the same answer. Left out, each answer is drawn anew. */
  seed?: number;
  /** The answer ends before the first of these, none of which is empty (default: none). */
  stop?: string | string[];
  /** Reports the log-probability of each token, and those of so many of the likeliest, 0 to 100; none where left out. */
  logprobs?: number;
  /** Aborting it stops within one token, or some 10 ms where tokens are faster; the generation rejects with kind `cancelled`. */
  signal?: AbortSignal;
  /** Go on past the end-of-text token (default false). */
  ignoreEos?: boolean;
  /** Keep what the last prompt and this one have in common in the cache (default true). */
  reusePrefix?: boolean;
  /** When the context is full: end the answer (`stop`, default), or drop the oldest tokens (`shift`). */
  onContextFull?: "stop" | "shift";
  /** Of `chat()`: further variables for the chat template, such as `enable_thinking` or `tools`; values as in JSON. */
  templateVariables?: Record<string, unknown>;
}

/** The log-probability of a chosen token, with those of the likeliest others. */
export interface TokenLogprob {
  id: number;
  logprob: number;
  top: { id: number; logprob: number }[];
}

/**
 * Some new text: of one token, or of those that a fast model wrote within about 10 ms. Its tokens may lie partly in the next piece
 * where a character spans several.
 */
export interface Piece {
  text: string;
  ids: number[];
  logprobs?: TokenLogprob[];
}

export type FinishReason = "stop" | "length" | "context" | "cancelled";

/** Of a cancelled answer `promptTokens`, `reusedTokens` and `draftedTokens` are 0: they are not known. */
export interface Usage {
  promptTokens: number;
  /** Of these, how many were still in the cache. */
  reusedTokens: number;
  completionTokens: number;
  /** Of these, how many a draft had right: the text repeated what stood before, and they took no run of their own. */
  draftedTokens: number;
}

/** Of a cancelled answer those of the prompt are 0, and the others as the page saw them. */
export interface Timings {
  promptMs: number;
  firstTokenMs: number;
  decodeMs: number;
  promptTokensPerSecond: number;
  decodeTokensPerSecond: number;
}

/** A whole answer. */
export interface GenerationResult {
  text: string;
  ids: number[];
  finishReason: FinishReason;
  usage: Usage;
  timings: Timings;
  logprobs?: TokenLogprob[];
}

/** How likely a model finds a text. */
export interface Score {
  ids: Uint32Array;
  /** The natural logarithm of the probability of `ids[i + 1]` after those before it; one fewer than `ids`. */
  logprobs: Float32Array;
}

/** What one token costs, node by node. */
export interface Profile {
  device: DeviceInfo;
  /** What one token launches, in order: the node of the graph, and the operator or shader variant that runs it. */
  nodes: {
    node: string;
    kernel: string;
    /** Where it ran, and the milliseconds of the last run that was measured. */
    device?: "cpu" | "webgpu";
    ms?: number;
    /** Why it did not run on WebGPU, where the model was to use it. */
    reason?: string;
  }[];
  /** On WebGPU: launches for one token, launches in its first layer, submits for one token. */
  gpu?: { dispatchesPerToken: number; dispatchesPerLayer: number; submitsPerToken: number };
}
