import { onAbort } from "./abort.js";
import { conversation } from "./chat.js";
import type { Client, Handlers } from "./client.js";
import { HomefireError, messageOf } from "./errors.js";
import { Generation } from "./generation.js";
import { DeviceTensor } from "./kept.js";
import type { Answers, Event, ModelCall, Prompt } from "./messages.js";
import { checkOptions } from "./options.js";
import { kindOf, type Tensor, type Value } from "./tensor.js";
import type { EmbedOptions, GenerateOptions, Input, Message, ModelInfo, Profile, RunOptions, Score, ScoreOptions } from "./types.js";
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
    return this.generate("chat", () => conversation(messages, options.templateVariables), options);
  }

  /** Goes on from a prompt: a text, whose special tokens count as such, or token ids. Queued behind earlier generations. */
  complete(prompt: string | Uint32Array | readonly number[], options: GenerateOptions = {}): Generation {
    return this.generate("complete", () => textOrIds(prompt, "complete"), options);
  }

  /** The prompt that the chat template makes of a conversation, to look at or to count its tokens: no model runs. */
  async applyChatTemplate(messages: readonly Message[], options: Pick<GenerateOptions, "templateVariables"> = {}): Promise<string> {
    checkOptions("applyChatTemplate", options);
    return this.ask({ call: "render", conversation: conversation(messages, options.templateVariables) });
  }

  /** The tokens of a text. With `special` (the default), special tokens in it count as such. */
  async tokenize(text: string, options: { special?: boolean } = {}): Promise<Uint32Array> {
    checkOptions("tokenize", options);
    return this.ask({ call: "tokenize", text, special: options.special ?? true });
  }

  /** The text of some tokens. */
  detokenize(ids: Uint32Array | readonly number[]): Promise<string> {
    return this.ask({ call: "detokenize", ids: Uint32Array.from(ids) });
  }

  /**
   * How likely the model finds a text, or token ids, of at least two tokens: for perplexities, for choosing among
   * given answers. Queued behind earlier generations.
   */
  async score(text: string | Uint32Array | readonly number[], options: ScoreOptions = {}): Promise<Score> {
    checkOptions("score", options);
    return this.cancellable({ call: "score", text: textOrIds(text, "score") }, options.signal, "The scoring");
  }

  /**
   * The vector of a text, or of each of several, by an encoder. A text longer than `info.contextLength` tokens is cut.
   * Texts of like length run together, so many at once are faster than one by one. Queued behind earlier calls.
   */
  embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(texts: string | readonly string[], options: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    checkOptions("embed", options);
    const { signal, ...wire } = options;
    const list = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(list) || list.some((text) => typeof text !== "string")) {
      throw new HomefireError("invalid-input", "embed() takes a string, or an array of strings.");
    }
    const all = await this.cancellable({ call: "embed", texts: [...list], options: wire }, signal, "The embedding");
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
  run<R extends Record<string, Value> = Record<string, Tensor>>(
    inputs: Readonly<Record<string, Input>>,
    options?: RunOptions & { keep?: undefined },
  ): Promise<R>;
  run<R extends Record<string, Value | DeviceTensor> = Record<string, Tensor | DeviceTensor>>(
    inputs: Readonly<Record<string, Input>>,
    options: RunOptions,
  ): Promise<R>;
  async run(inputs: Readonly<Record<string, Input>>, options: RunOptions = {}): Promise<Record<string, Value | DeviceTensor>> {
    checkOptions("run", options);
    if (this.info.kind !== "network") {
      throw new HomefireError("invalid-input", `This model is no network: it is used by ${this.info.kind === "encoder" ? "embed()" : "chat() and complete()"}.`);
    }
    const { run, transfer } = wireRun(this.info, inputs, options, this);
    const computed = await this.cancellable({ call: "run", run, moves: options.transfer ?? false }, options.signal, "The run", transfer, (event) => this.late(event));
    const kept = (wire: WireKept): DeviceTensor => new DeviceTensor(wire, this, (call) => this.ask(call));
    return Object.fromEntries(run.outputs.map((name, i) => [name, fromWire(computed[i] ?? null, kept)]));
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

  private ask<C extends ModelCall>(call: C): Promise<Answers[C["call"]]> {
    return this.client.ask(this.id, call);
  }

  /** What comes of a run after it was cancelled: what it kept, nobody has. */
  private late(event: Event): void {
    this.moved(event);
    if (!("value" in event)) return;
    for (const value of event.value as WireValue[]) {
      if (value && "kept" in value) void this.ask({ call: "drop", kept: value.kept }).catch(() => undefined);
    }
  }

  /** Takes note of another device. */
  private moved(event: Event): void {
    if ("device" in event) this.info.device = event.device;
  }

  /** Calls the worker for one value, unless the signal is aborted before it comes. */
  private cancellable<C extends ModelCall>(
    call: C,
    signal: AbortSignal | undefined,
    what: string,
    transfer?: Transferable[],
    late?: Handlers["event"],
  ): Promise<Answers[C["call"]]> {
    const cancelled = (): HomefireError => new HomefireError("cancelled", `${what} was cancelled by its signal.`);
    if (signal?.aborted) return Promise.reject(cancelled());
    return new Promise((resolve, reject) => {
      const off = onAbort(signal, () => {
        this.client.cancel(id);
        reject(cancelled());
      });
      const event = (event: Event): void => {
        this.moved(event);
        if (!("value" in event)) return;
        off();
        resolve(event.value as Answers[C["call"]]);
      };
      const fail = (error: HomefireError): void => {
        off();
        reject(error);
      };
      const id = this.client.call(this.id, call, { event, fail, ...(late ? { late } : {}) }, transfer);
    });
  }

  private generate(of: "chat" | "complete", prompt: () => Prompt, options: GenerateOptions): Generation {
    let id = 0;
    let off = (): void => {};
    const generation = new Generation(performance.now(), () => {
      off();
      this.client.cancel(id);
    });
    try {
      checkOptions(of, options);
      const { signal, templateVariables: _, ...wire } = options;
      const cancelled = (): HomefireError => new HomefireError("cancelled", "The generation was cancelled by its signal.");
      if (signal?.aborted) throw cancelled();
      const call = { call: "generate", prompt: prompt(), options: wire } as const;
      off = onAbort(signal, () => {
        this.client.cancel(id);
        generation.fail(cancelled());
      });
      const event = (event: Event): void => {
        if ("piece" in event) generation.push(event.piece);
        else if ("value" in event) {
          off();
          generation.finish(event.value as Answers["generate"]);
        }
      };
      const fail = (error: HomefireError): void => {
        off();
        generation.fail(error);
      };
      id = this.client.call(this.id, call, { event, fail });
    } catch (thrown) {
      generation.fail(thrown instanceof HomefireError ? thrown : new HomefireError("invalid-input", messageOf(thrown)));
    }
    return generation;
  }
}

/** A prompt as it is posted. */
function textOrIds(prompt: string | Uint32Array | readonly number[], of: string): { text: string } | { ids: Uint32Array } {
  if (typeof prompt === "string") return { text: prompt };
  if (!Array.isArray(prompt) && !ArrayBuffer.isView(prompt)) throw new HomefireError("invalid-input", `${of}() takes a text or token ids, not ${kindOf(prompt)}.`);
  const ids = Uint32Array.from(prompt, Number);
  const odd = ids.findIndex((id, i) => id !== prompt[i]);
  if (odd >= 0) throw new HomefireError("invalid-input", `${of}() was given ${String(prompt[odd])} as token ${odd}: ids are whole numbers.`);
  return { ids };
}
