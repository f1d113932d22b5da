// What the page and the worker say to each other: numbered calls from the page, answered by events that
// carry the same number. `pull` goes the other way, for sources whose bytes the page holds.
import type { PlainError } from "./errors.js";
import type { EmbedOptions, GenerateOptions, Message, ModelInfo, Piece, Profile, Progress, GenerationResult, Score } from "./types.js";
import type { WireTensor } from "./tensor.js";

/** One part of a source as the worker sees it; the page pumps the bytes of `pull`. */
export type WirePart = { url: string } | { blob: Blob } | { pull: number; bytes: number | null };

/** Load options that can be posted. */
export interface WireLoad {
  parts: WirePart[];
  device: "auto" | "webgpu" | "cpu";
  contextLength: number | undefined;
  chatTemplate: string | undefined;
  network: "allow" | "none";
  exact: boolean;
}

export type WireGenerate = Omit<GenerateOptions, "signal">;
export type WireEmbed = Omit<EmbedOptions, "signal">;

export type Prompt = { messages: Message[] } | { text: string } | { ids: Uint32Array };

/** Page to worker. */
export type Call =
  | { id: number; call: "load"; load: WireLoad }
  | { id: number; call: "generate"; prompt: Prompt; options: WireGenerate }
  | { id: number; call: "cancel" }
  | { id: number; call: "tokenize"; text: string; special: boolean }
  | { id: number; call: "detokenize"; ids: Uint32Array }
  | { id: number; call: "profile" }
  | { id: number; call: "score"; text: { text: string } | { ids: Uint32Array } }
  | { id: number; call: "run"; inputs: WireTensor[]; outputs: readonly string[] }
  | { id: number; call: "embed"; texts: string[]; options: WireEmbed }
  | { id: number; call: "chunk"; bytes: Uint8Array | null; error?: PlainError };

/** How a generation ended. */
export type Ending = Pick<GenerationResult, "finishReason" | "usage" | "timings">;

/** Worker to page. */
export type Event =
  | { id: number; error: PlainError }
  | { id: number; progress: Progress }
  | { id: number; pull: number }
  | { id: number; piece: Piece }
  | { id: number; done: Ending }
  | { id: number; value: ModelInfo | Uint32Array | string | Profile | Score | WireTensor[] | Float32Array };
