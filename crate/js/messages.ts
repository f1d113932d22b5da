// What the page and a worker say to each other: numbered calls from the page, answered by events that carry
// the same number. A model has the number of the call that loaded it. `pull` goes the other way, for sources
// whose bytes the page holds.
import type { Bell } from "./bell.js";
import type { PlainError } from "./errors.js";
import type { WireTensor } from "./tensor.js";
import type { DeviceInfo, EmbedOptions, GenerateOptions, GenerationResult, Message, ModelInfo, Piece, Profile, Progress, Score } from "./types.js";
import type { VariantName } from "./variant.js";
import type { WireRun, WireValue } from "./wire.js";

/** One part of a source as the worker sees it; the page pumps the bytes of `pull`. Its name is a path or a file's. */
export type WirePart = ({ url: string } | { blob: Blob } | { pull: number; bytes: number | null }) & { name?: string | undefined };

/** Load options that can be posted. */
export interface WireLoad {
  parts: WirePart[];
  device: "auto" | "webgpu" | "cpu";
  contextLength: number | undefined;
  chatTemplate: string | undefined;
  network: "allow" | "none";
  exact: boolean;
  threads: number | undefined;
}

export type WireGenerate = Omit<GenerateOptions, "signal" | "templateVariables">;
export type WireEmbed = Omit<EmbedOptions, "signal">;

/** A message whose parts are joined. */
export type WireMessage = Omit<Message, "content"> & { content: unknown };

/** A conversation for the chat template, with further variables of it. */
export interface Conversation {
  messages: WireMessage[];
  variables: Record<string, unknown>;
}
export type Prompt = Conversation | { text: string } | { ids: Uint32Array };

/** The compiled wasm of one variant. A worker gives it to the page, which gives it to workers that come later. */
export interface Compiled {
  variant: VariantName;
  module: WebAssembly.Module;
}

/** What a model is asked; the calls of one model are answered in order. */
export type ModelCall =
  | { call: "generate"; prompt: Prompt; options: WireGenerate }
  | { call: "tokenize"; text: string; special: boolean }
  | { call: "detokenize"; ids: Uint32Array }
  | { call: "render"; conversation: Conversation }
  | { call: "profile" }
  | { call: "score"; text: { text: string } | { ids: Uint32Array } }
  | { call: "embed"; texts: string[]; options: WireEmbed }
  /** `moves`: what is given is taken from the caller. */
  | { call: "run"; run: WireRun; moves?: boolean }
  | { call: "read"; kept: number }
  | { call: "drop"; kept: number }
  | { call: "close" };

/** What each call is answered with, if it does not fail: once, and cancelled ones too. */
export interface Answers {
  load: ModelInfo;
  generate: Ending;
  tokenize: Uint32Array;
  detokenize: string;
  render: string;
  profile: Profile;
  score: Score;
  embed: Float32Array;
  run: WireValue[];
  read: WireTensor;
  drop: undefined;
  close: undefined;
}
export type Answer = Answers[keyof Answers];

/** Page to worker. */
export type Call =
  | { id: number; call: "load"; load: WireLoad; compiled: readonly Compiled[]; bell: Bell | undefined }
  | { id: number; call: "cancel" }
  | { id: number; call: "chunk"; bytes: Uint8Array | null; error?: PlainError }
  | (ModelCall & { id: number; model: number });

/** How a generation ended. */
export type Ending = Pick<GenerationResult, "finishReason" | "usage" | "timings">;

/** Worker to page. */
export type Event =
  | { id: number; error: PlainError; fatal?: boolean }
  | { id: number; progress: Progress }
  | { id: number; compiled: Compiled }
  | { id: number; pull: number }
  | { id: number; piece: Piece }
  /** A run has found out that the model is better off on another device. */
  | { id: number; device: DeviceInfo }
  | { id: number; value: Answer };
