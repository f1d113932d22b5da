// The names of all options: one that is misspelt is refused, and not passed over in silence.
import { HomefireError } from "./errors.js";
import type { EmbedOptions, GenerateOptions, LoadOptions, RunOptions, ScoreOptions } from "./types.js";

/** Every name of a type, so that none can be forgotten here. */
type Names<T> = Record<keyof T, 1>;

const load: Names<LoadOptions> = {
  device: 1, onProgress: 1, signal: 1, contextLength: 1, chatTemplate: 1, network: 1, exact: 1, threads: 1,
};
const chat: Names<GenerateOptions> = {
  maxTokens: 1, temperature: 1, topK: 1, topP: 1, minP: 1, repetitionPenalty: 1, frequencyPenalty: 1, presencePenalty: 1, penaltyWindow: 1,
  seed: 1, stop: 1, logprobs: 1, signal: 1, ignoreEos: 1, reusePrefix: 1, onContextFull: 1, templateVariables: 1,
};
const { templateVariables, ...complete } = chat;
const run: Names<RunOptions> = { outputs: 1, keep: 1, profile: 1, transfer: 1, signal: 1 };
const embed: Names<EmbedOptions> = { pooling: 1, normalize: 1, signal: 1 };
const score: Names<ScoreOptions> = { signal: 1 };
const NAMES = { load, chat, complete, run, embed, score, applyChatTemplate: { templateVariables }, tokenize: { special: 1 } };

/** Refuses what is no option of the function `of`. */
export function checkOptions(of: keyof typeof NAMES, options: object): void {
  const names = NAMES[of];
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || Object.hasOwn(names, name)) continue;
    throw new HomefireError("invalid-input", `${of}() has no option "${name}"; its options are ${Object.keys(names).join(", ")}.`);
  }
}
