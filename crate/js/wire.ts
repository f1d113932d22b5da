// Values on their way between the page and the worker: the elements of tensors as bytes.
import { HomefireError } from "./errors.js";
import { DeviceTensor } from "./kept.js";
import { holds, kindOf, Tensor, tensorOf, type TensorLike, type TensorType, type Value, type WireTensor } from "./tensor.js";
import type { Input, ModelInfo, Port, RunOptions } from "./types.js";

/** A tensor that stays with the model, by its number. */
export interface WireKept {
  kept: number;
  type: TensorType;
  dims: readonly number[];
}

export type WireValue = WireTensor | WireKept | WireValue[] | null;

/** One run as it is posted. */
export interface WireRun {
  names: string[];
  values: WireValue[];
  /** The outputs wanted, in the order in which they come back. */
  outputs: readonly string[];
  /** Those of them that stay with the model. */
  keep: readonly string[];
  /** Whether each launch is measured. */
  profile: boolean;
}

/** A run's inputs and options, checked as far as the page can, and the buffers that go with them. */
export function wireRun(
  info: ModelInfo,
  inputs: Readonly<Record<string, Input>>,
  options: RunOptions,
  owner: object,
): { run: WireRun; transfer: Transferable[] } {
  const { outputs = [], keep = [], transfer = false, profile = false } = options;
  const wanted = outputs.length > 0 ? outputs : info.outputs.map(({ name }) => name);
  const stray = keep.find((name) => !wanted.includes(name));
  if (stray !== undefined) throw new HomefireError("invalid-input", `"${stray}" is to be kept and is none of the outputs: ${wanted.join(", ")}.`);
  if (typeof inputs !== "object" || inputs === null) {
    const list = info.inputs.map(({ name }) => name).join(", ");
    throw new HomefireError("invalid-input", `run() takes an object of inputs by name, not ${kindOf(inputs)}. The inputs are: ${list || "none"}.`);
  }
  const moved = new Set<ArrayBuffer>();
  const names = Object.keys(inputs);
  const values = names.map((name) => {
    const port = info.inputs.find((port) => port.name === name);
    try {
      return toWire(inputs[name], port, transfer, moved, owner);
    } catch (thrown) {
      if (!(thrown instanceof HomefireError)) throw thrown;
      throw new HomefireError(thrown.kind, `The input "${name}": ${thrown.message}`);
    }
  });
  return { run: { names, values, outputs: wanted, keep, profile }, transfer: [...moved] };
}

function toWire(input: Input | undefined, port: Port | undefined, transfer: boolean, moved: Set<ArrayBuffer>, owner: object): WireValue {
  if (input === null) return null;
  if (input instanceof DeviceTensor) return input.given(owner);
  if (Array.isArray(input)) return Array.from(input, (item) => toWire(item as Input, undefined, transfer, moved, owner));
  if (typeof input !== "object" && input !== undefined) throw notATensor(input);
  const bare = ArrayBuffer.isView(input);
  if (!bare && !(input && "type" in input && "data" in input)) throw notATensor(input);
  const like = (bare ? shaped(input as never, port) : input) as TensorLike;
  const { type, dims, data } = like instanceof Tensor && like.data.length === like.size ? like : new Tensor(like.type, like.data, like.dims);
  if (type === "string") return { type, dims, data: data as string[] };
  const { buffer, byteOffset, byteLength } = data as Uint8Array;
  let bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const owned = buffer instanceof ArrayBuffer;
  // A view of a part is copied here: posting it would copy all of its buffer, twice.
  if (!(transfer && owned)) bytes = bytes.slice();
  moved.add(bytes.buffer as ArrayBuffer);
  return { type, dims, data: bytes };
}

const notATensor = (input: unknown): HomefireError =>
  new HomefireError(
    "invalid-input",
    `it is ${input === undefined ? "undefined" : `a ${kindOf(input)}`}. Inputs are tensors, typed arrays, tensors that were kept, arrays of these, or null.`,
  );

/** A typed array as the tensor that the model's declaration makes of it. */
function shaped(array: ArrayLike<number | bigint> & ArrayBufferView, port: Port | undefined): TensorLike {
  const kind = kindOf(array);
  const n = array.length;
  const give = (why: string): HomefireError =>
    new HomefireError("invalid-input", `it came as a bare ${kind} of ${n} elements, and ${why}. Give new Tensor(type, data, dims).`);
  const { type, dims } = port ?? {};
  if (!type || !dims) throw give(port ? "the model does not declare its type and dimensions" : "there is no declaration of it");
  const wanted = `${type} [${dims.map((dim) => dim ?? "?").join(", ")}] is wanted`;
  if (!holds(type, kind)) throw give(wanted);
  const known = dims.filter((dim) => typeof dim === "number").reduce((product, dim) => product * dim, 1);
  const open = dims.length - dims.filter((dim) => typeof dim === "number").length;
  if (open > 1) throw give(`${wanted}: ${open} of its dimensions are open`);
  if (open === 1 && (known === 0 || n % known !== 0)) throw give(wanted);
  return { type, data: array, dims: dims.map((dim) => (typeof dim === "number" ? dim : n / known)) };
}

/** A value of the worker's as the caller gets it. */
export function fromWire(value: WireValue, kept: (wire: WireKept) => DeviceTensor): Value | DeviceTensor {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map((item) => fromWire(item, kept) as Value);
  return "kept" in value ? kept(value) : tensorOf(value);
}
