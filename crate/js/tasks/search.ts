// Search by meaning: passages and query become vectors of an encoder, and the nearest passages answer.
import { HomefireError, type Model, type Source } from "../index.js";
import { Models, type TaskOptions } from "./load.js";

/** A passage found. */
export interface Hit {
  text: string;
  /** Its place among the passages indexed. */
  index: number;
  /** The cosine of the angle between its vector and the query's. */
  score: number;
}

export interface IndexOptions {
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/** Passages are embedded so many at a time, so that progress is told and a cancel takes effect. */
const BATCH = 16;

/**
 * Loads an encoder (the files of one, or a model that is loaded) for search by meaning.
 *
 * ```js
 * const search = await loadSearch(["minilm.safetensors", "minilm.config.json", "minilm.tokenizer.json"]);
 * await search.index(passagesOf(text));
 * const [best] = await search.search("What do cats eat?", 3);
 * ```
 * @throws {HomefireError} as `load()`; `invalid-input` when the model is no encoder.
 */
export async function loadSearch(source: Model | Source, options: TaskOptions = {}): Promise<Search> {
  const models = await Models.load([source], options);
  const model = models.models[0] as Model;
  if (model.info.embeddingLength > 0) return new Search(models, model);
  await models.close();
  throw new HomefireError("invalid-input", "This model is no encoder: search wants one, such as MiniLM with its config.json and tokenizer.json.");
}

/** Passages that can be searched. It is freed by `close()`. */
export class Search {
  private passages: { text: string; vector: Float32Array }[] = [];

  /** @internal */
  constructor(
    private readonly models: Models,
    private readonly model: Model,
  ) {}

  /** How many passages there are. */
  get size(): number {
    return this.passages.length;
  }

  /** Adds passages. A cancelled call adds none. */
  async index(passages: readonly string[], { onProgress, signal }: IndexOptions = {}): Promise<void> {
    const added: { text: string; vector: Float32Array }[] = [];
    for (let at = 0; at < passages.length; at += BATCH) {
      const texts = passages.slice(at, at + BATCH);
      const vectors = await this.model.embed(texts, signal ? { signal } : {});
      for (const [i, text] of texts.entries()) added.push({ text, vector: unit(vectors[i] as Float32Array) });
      onProgress?.(added.length, passages.length);
    }
    this.passages.push(...added);
  }

  /** Forgets all passages. */
  clear(): void {
    this.passages = [];
  }

  /** The `k` passages nearest to the query, the nearest first. */
  async search(query: string, k = 5, { signal }: { signal?: AbortSignal } = {}): Promise<Hit[]> {
    const wanted = unit(await this.model.embed(query, signal ? { signal } : {}));
    const hits = this.passages.map(({ text, vector }, index) => ({ text, index, score: vector.reduce((sum, x, i) => sum + x * (wanted[i] as number), 0) }));
    return hits.sort((a, b) => b.score - a.score).slice(0, k);
  }

  /** Frees the model, if `loadSearch` loaded it. */
  async close(): Promise<void> {
    await this.models.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector) || 1;
  return vector.map((x) => x / length);
}

/**
 * A text in passages of at most so many words: whole paragraphs where they are short enough, else whole sentences, and
 * words where a sentence is longer. Short neighbours of one paragraph stay together.
 */
export function passagesOf(text: string, maxWords = 60): string[] {
  const passages: string[] = [];
  for (const paragraph of text.split(/\n\s*\n/)) {
    let passage: string[] = [];
    const close = (): void => {
      if (passage.length > 0) passages.push(passage.join(" "));
      passage = [];
    };
    for (const sentence of sentencesOf(paragraph)) {
      const words = sentence.split(/\s+/).filter(Boolean);
      if (passage.length + words.length > maxWords) close();
      for (let at = 0; at < words.length; at += maxWords) {
        passage.push(...words.slice(at, at + maxWords));
        if (passage.length >= maxWords) close();
      }
    }
    close();
  }
  return passages;
}

function sentencesOf(paragraph: string): string[] {
  if (typeof Intl.Segmenter === "function") {
    return Array.from(new Intl.Segmenter(undefined, { granularity: "sentence" }).segment(paragraph), ({ segment }) => segment);
  }
  return paragraph.split(/(?<=[.!?…。！？])\s+/);
}
