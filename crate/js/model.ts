import type { Client } from "./client.js";
import { HomefireError } from "./errors.js";
import { Generation } from "./generation.js";
import type { Prompt } from "./messages.js";
import { fromWire, toWire, type WireTensor } from "./tensor.js";
import type { GenerateOptions, Message, ModelInfo, Profile, RunOptions, Score, Tensor } from "./types.js";

/** A loaded model. It lives in a worker of its own until it is closed. */
export class Model {
  /** What the model is, and which device runs it. */
  readonly info: ModelInfo;

  /** @internal */
  constructor(
    private readonly client: Client,
    info: ModelInfo,
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
    return this.client.ask({ call: "tokenize", text, special });
  }

  /** The text of some tokens. */
  detokenize(ids: Uint32Array | readonly number[]): Promise<string> {
    return this.client.ask({ call: "detokenize", ids: Uint32Array.from(ids) });
  }

  /**
   * How likely the model finds a text, or token ids, of at least two tokens: for perplexities, for choosing among
   * given answers. Queued behind earlier generations.
   */
  score(text: string | Uint32Array | readonly number[]): Promise<Score> {
    return this.client.ask({ call: "score", text: typeof text === "string" ? { text } : { ids: Uint32Array.from(text) } });
  }

  /**
   * Runs a network (an ONNX file) on tensors by name. The tensors given stay the caller's. Queued behind earlier runs.
   *
   * @throws {HomefireError} `invalid-input` for a name that the model does not have, or one that is missing,
   * `shape-mismatch` when a type or dimensions are not the model's: the message names the input, what came and
   * what was wanted.
   */
  async run(inputs: Readonly<Record<string, Tensor>>, { outputs = [], signal }: RunOptions = {}): Promise<Record<string, Tensor>> {
    const cancelled = (): HomefireError => new HomefireError("cancelled", "The run was cancelled by its signal.");
    if (signal?.aborted) throw cancelled();
    const wire = Object.entries(inputs).map(([name, tensor]) => toWire(name, tensor));
    const computed = await new Promise<WireTensor[]>((resolve, reject) => {
      const abort = (): void => {
        this.client.cancel(id);
        reject(cancelled());
      };
      const id = this.client.start(
        { call: "run", inputs: wire, outputs },
        {
          event: (event) => {
            signal?.removeEventListener("abort", abort);
            if ("value" in event) resolve(event.value as WireTensor[]);
          },
          fail: reject,
        },
      );
      signal?.addEventListener("abort", abort, { once: true });
    });
    return Object.fromEntries(computed.map((tensor) => [tensor.name, fromWire(tensor)]));
  }

  /** Where a token runs, and what it launches there; of a network, what its last run launched. */
  profile(): Promise<Profile> {
    return this.client.ask({ call: "profile" });
  }

  /** Ends the worker and frees its memory and its GPU device. Unfinished generations reject with kind `cancelled`. */
  async close(): Promise<void> {
    this.client.close(new HomefireError("cancelled", "The model was closed."));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
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
    id = this.client.start(
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
