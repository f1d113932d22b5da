import { HomefireError } from "./errors.js";
import type { ModelCall } from "./messages.js";
import { type Tensor, tensorOf, type TensorType, type WireTensor } from "./tensor.js";
import type { WireKept } from "./wire.js";

/**
 * A tensor that stayed where the model runs, in the worker or on its GPU: an output named in `keep` of `run()`. It is
 * given to later runs of the same model as an input, without a copy on the page, until it is closed.
 */
export class DeviceTensor<T extends TensorType = TensorType> {
  readonly type: T;
  readonly dims: readonly number[];
  private kept: number | undefined;

  /** @internal */
  constructor(
    { kept, type, dims }: WireKept,
    private readonly owner: object,
    private readonly ask: (call: ModelCall) => Promise<unknown>,
  ) {
    this.type = type as T;
    this.dims = Array.from(dims);
    this.kept = kept;
  }

  /** How many elements it has. */
  get size(): number {
    return this.dims.reduce((n, dim) => n * dim, 1);
  }

  /** A copy of it on the page. Queued behind earlier runs. */
  async read(): Promise<Tensor<T>> {
    return tensorOf((await this.ask({ call: "read", kept: this.open() })) as WireTensor) as Tensor<T>;
  }

  /** Frees it. Runs that it was given to already still have it. */
  async close(): Promise<void> {
    const kept = this.kept;
    this.kept = undefined;
    // With its model closed it is free already.
    if (kept !== undefined) await this.ask({ call: "drop", kept }).catch(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** It as an input of a run of `owner`. @internal */
  given(owner: object): WireKept {
    if (owner !== this.owner) {
      throw new HomefireError("invalid-input", "it was kept by another model. Give what its read() gives.");
    }
    return { kept: this.open(), type: this.type, dims: this.dims };
  }

  private open(): number {
    if (this.kept === undefined) throw new HomefireError("invalid-input", "it was kept and is closed already.");
    return this.kept;
  }
}
