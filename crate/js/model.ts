import type { Client } from "./client.js";
import { HomefireError } from "./errors.js";
import { Generation } from "./generation.js";
import { DeviceTensor } from "./kept.js";
import type { Event, ModelCall, Prompt } from "./messages.js";
import type { Tensor, Value } from "./tensor.js";
import type { EmbedOptions, GenerateOptions, Input, Message, ModelInfo, Profile, RunOptions, Score } from "./types.js";
import { fromWire, type WireKept, type WireValue, wireRun } from "./wire.js";

/** A loaded model. It lives in a worker, its own or that of a `Runtime`, until it is closed. */
export class Model {
  /** What the model is, and which device runs it. */
  readonly info: ModelInfo;

  /** @internal */
  constructor(
    private readonly client: Client,
    private readonly id: number,
    info: ModelInfo,
    private readonly alone: boolean,
  ) {
    this.info = info;
  }

  /** Answers a conversation, in the form that the model's chat template gives it. Queued behind earlier generations. */
  chat(messages: readonly Message[], options: GenerateOptions = {}): Generation {
    return this.generate({ messages: messages.map(({ ...message }) => message) }, options);
  }

  /** Goes on from a prompt: a text, whose special tokens count as such, or token ids. Queued behind earlier generations. */
  complete(prompt: string | Uint32Array | readonly number[], options: GenerateOptions = {}): Generation {
    return this.generate(typeof prompt === "string" ? { text: prompt } : { ids: Uint32Array.from(prompt) }, options);
  }

  /** The tokens of a text. With `special` (the default), special tokens in it count as such. */
  tokenize(text: string, { special = true }: { special?: boolean } = {}): Promise<Uint32Array> {
    return this.ask({ call: "tokenize", text, special });
  }

  /** The text of some tokens. */
  detokenize(ids: Uint32Array | readonly number[]): Promise<string> {
    return this.ask({ call: "detokenize", ids: Uint32Array.from(ids) });
  }

  /**
   * How likely the model finds a text, or token ids, of at least two tokens: for perplexities, for choosing among
   * given answers. Queued behind earlier generations.
   */
  score(text: string | Uint32Array | readonly number[]): Promise<Score> {
    return this.ask({ call: "score", text: typeof text === "string" ? { text } : { ids: Uint32Array.from(text) } });
  }

  /**
   * The vector of a text, or of each of several, by an encoder. A text longer than `info.contextLength` tokens is cut.
   * Texts of like length run together, so many at once are faster than one by one. Queued behind earlier calls.
   */
  embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(texts: string | readonly string[], { signal, ...options }: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    const list = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(list) || list.some((text) => typeof text !== "string")) {
      throw new HomefireError("invalid-input", "embed() takes a string, or an array of strings.");
    }
    const all = await this.cancellable<Float32Array>({ call: "embed", texts: [...list], options }, signal, "The embedding");
    const vectors = list.map((_, i) => all.slice(i * this.info.embeddingLength, (i + 1) * this.info.embeddingLength));
    return typeof texts === "string" ? (vectors[0] as Float32Array) : vectors;
  }

  /**
   * Runs a network (an ONNX file) on values by name: tensors, typed arrays where the model's declaration decides their
   * shape, arrays of tensors for sequences, `null` for an optional value that is absent, and tensors that an earlier
   * run kept. What is given stays the caller's unless `transfer` says otherwise. Queued behind earlier runs.
   *
   * @throws {HomefireError} `invalid-input` for a name that the model does not have, or one that is missing,
   * `shape-mismatch` when a type or dimensions are not the model's: the message names the input, what came and
   * what was wanted, and lists the inputs. `cancelled` when the signal is aborted.
   */
  async run<R extends Record<string, Value | DeviceTensor> = Record<string, Tensor>>(
    inputs: Readonly<Record<string, Input>>,
    options: RunOptions = {},
  ): Promise<R> {
    if (this.info.kind !== "network") {
      throw new HomefireError("invalid-input", `This model is no network: it is used by ${this.info.kind === "encoder" ? "embed()" : "chat() and complete()"}.`);
    }
    const { run, transfer } = wireRun(this.info, inputs, options, this);
    const computed = await this.cancellable<WireValue[]>({ call: "run", run, moves: options.transfer ?? false }, options.signal, "The run", transfer);
    const kept = (wire: WireKept): DeviceTensor => new DeviceTensor(wire, this, (call) => this.ask(call));
    return Object.fromEntries(run.outputs.map((name, i) => [name, fromWire(computed[i] ?? null, kept)])) as R;
  }

  /** Where a token runs, and what it launches there; of a network, what its last run launched. */
  profile(): Promise<Profile> {
    return this.ask({ call: "profile" });
  }

  /**
   * Frees the model, its GPU device and, unless it shares a `Runtime`, its worker. Unfinished generations and runs
   * reject with kind `cancelled`.
   */
  async close(): Promise<void> {
    const closed = new HomefireError("cancelled", "The model was closed.");
    if (this.alone) this.client.close(closed);
    else await this.client.closeModel(this.id, closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private ask<T>(call: ModelCall): Promise<T> {
    return this.client.ask(this.id, call);
  }

  /** Calls the worker for one value, unless the signal is aborted before it comes. */
  private cancellable<T>(call: ModelCall, signal: AbortSignal | undefined, what: string, transfer?: Transferable[]): Promise<T> {
    const cancelled = (): HomefireError => new HomefireError("cancelled", `${what} was cancelled by its signal.`);
    if (signal?.aborted) return Promise.reject(cancelled());
    return new Promise<T>((resolve, reject) => {
      const abort = (): void => {
        this.client.cancel(id);
        reject(cancelled());
      };
      const done = <A>(then: (value: A) => void) => (value: A) => {
        signal?.removeEventListener("abort", abort);
        then(value);
      };
      const end = done<T>(resolve);
      const handlers = { event: (event: Event) => "value" in event && end(event.value as T), fail: done(reject) };
      const id = this.client.call(this.id, call, handlers, transfer);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  private generate(prompt: Prompt, { signal, ...options }: GenerateOptions): Generation {
    let id = 0;
    const abort = (): void => {
      this.client.cancel(id);
      generation.fail(new HomefireError("cancelled", "The generation was cancelled by its signal."));
    };
    const generation = new Generation(performance.now(), () => {
      signal?.removeEventListener("abort", abort);
      this.client.cancel(id);
    });
    if (signal?.aborted) {
      abort();
      return generation;
    }
    signal?.addEventListener("abort", abort, { once: true });
    id = this.client.call(
      this.id,
      { call: "generate", prompt, options },
      {
        event: (event) => {
          if ("piece" in event) generation.push(event.piece);
          else if ("done" in event) {
            signal?.removeEventListener("abort", abort);
            generation.finish(event.done);
          }
        },
        fail: (error) => generation.fail(error),
      },
    );
    return generation;
  }
}
